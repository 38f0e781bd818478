"""The evaluation as one web page that needs nothing but itself."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

Metrics = Mapping[str, Any]

CAPTIONS = {
    "rmse.png": "Root-mean-square error of vote fractions, question by question, all answers "
    "together. The black line is what the sampling of volunteers alone would leave of a perfect "
    "prediction.",
    "predicted_vs_observed.png": "Predicted and observed vote fractions; one point is one test "
    "galaxy. Points of a perfect prediction still scatter, by the floor given in each panel.",
    "calibration.png": "Are the uncertainties honest? Where each observed count lies in its "
    "predicted distribution (randomised probability integral transform), and how many counts the "
    "posterior predictive intervals hold.",
    "gallery.png": "Test galaxies drawn at random, ordered by the model's fraction of the first "
    "answer. Each line gives the answer that most volunteers chose: the model's fraction as a "
    "bar, the volunteers' as a tick.",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1, h2 { line-height: 1.2; font-weight: 600; }
h2 { margin-top: 2.5rem; }
.headline { font-size: 1.2rem; border-left: 4px solid #1f77b4; padding-left: 1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; text-align: right; border-bottom: 1px solid #e3e5e8; }
th { border-bottom: 2px solid #8a8f98; font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
tr.whole td { background: #f2f5f8; font-weight: 600; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption, footer { font-size: 0.85rem; color: #5a5f68; }
footer { margin-top: 3rem; overflow-wrap: anywhere; }
"""


def write_page(path: Path, metrics: Metrics, plots: Path) -> None:
    """Write ``report.html``.

    Parameters
    ----------
    path : Path
        The page.
    metrics : mapping
        What ``metrics.json`` holds.
    plots : Path
        Folder of the PNG files named in ``CAPTIONS``; they are put into the page itself.
    """
    figures = "".join(_figure(plots / name, caption) for name, caption in CAPTIONS.items())
    title = escape(f"Evaluation of {metrics['model']}")
    body = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="headline">{escape(headline(metrics))}</p>
<p>{escape(calibration_sentence(metrics))}</p>
<p>{escape(likelihood_sentence(metrics))}</p>
<p>{escape(sample_sentence(metrics))}</p>
<h2>Questions</h2>
{_questions_table(metrics)}
{figures}
<h2>Answers</h2>
{_answers_table(metrics)}
<footer>{_footer(metrics)}</footer>
</body>
</html>
"""
    path.write_text(body, encoding="utf-8")


def headline(metrics: Metrics) -> str:
    """Say in one sentence what the model reached on its first question.

    Parameters
    ----------
    metrics : mapping

    Returns
    -------
    str
        Plain text.
    """
    answered = ((name, scores) for name, scores in metrics["questions"].items() if scores["n"])
    first = next(answered, None)
    if first is None:
        return f"None of the {metrics['n_test']} test galaxies has enough votes on any question."
    name, scores = first
    constant, ridge = (scores["baselines"][kind]["rmse"] for kind in ("constant", "ridge"))
    return (
        f"On {scores['n']} test galaxies the model's RMSE on {name} is {scores['rmse']:.3f}: "
        f"{_relative(scores['rmse'], constant)} the constant prediction, "
        f"{_relative(scores['rmse'], ridge)} ridge regression on hand features; vote noise alone "
        f"sets a floor of {scores['noise_floor_rmse']:.3f}."
    )


def _relative(value: float, reference: float) -> str:
    if not reference:
        return "not comparable with"
    percent = round(100 * (1 - value / reference))
    if percent == 0:
        return "level with"
    return f"{abs(percent)} % {'below' if percent > 0 else 'above'}"


def calibration_sentence(metrics: Metrics) -> str:
    """Say whether the predictive intervals hold what they promise; plain text."""
    covered = metrics["overall"]["coverage_90"]
    if covered is None:
        return "The predictive intervals could not be tested."
    off = [
        f"{name} ({100 * scores['coverage_90']:.0f} %)"
        for name, scores in metrics["questions"].items()
        if scores["n"] and abs(scores["coverage_90"] - 0.9) > 0.05
    ]
    verdict = f"off by more than 5 points: {', '.join(off)}" if off else "each within 5 points"
    return (
        f"The 90 % posterior predictive intervals hold {100 * covered:.1f} % of the observed "
        f"counts, all questions together; {verdict}."
    )


def likelihood_sentence(metrics: Metrics) -> str:
    """Name the questions on which the model says nothing a constant would not; plain text."""
    weak = [
        name
        for name, scores in metrics["questions"].items()
        if scores["n"] and scores["nll"] >= scores["nll_constant"]
    ]
    if not weak:
        return "By likelihood the model beats the constant Dirichlet on every question."
    return f"By likelihood the model does no better than a constant on: {', '.join(weak)}."


def sample_sentence(metrics: Metrics) -> str:
    """Say which galaxies were compared; plain text."""
    return (
        f"The model predicted {metrics['n_test']} test galaxies, which it has not learned from; "
        f"the baselines were fitted to {metrics['n_train']} training galaxies. A galaxy counts for "
        f"a question when at least {metrics['min_votes']} volunteers answered it. Left out: "
        f"{metrics['skipped']['unfit']} with an unfit image, {metrics['skipped']['absent']} "
        "without one."
    )


def _figure(path: Path, caption: str) -> str:
    image = b64encode(path.read_bytes()).decode("ascii")
    text = escape(caption)
    return (
        f'<figure><img src="data:image/png;base64,{image}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>\n"
    )


def _questions_table(metrics: Metrics) -> str:
    head = (
        *("question", "galaxies", "RMSE", "ridge", "constant", "vote noise", "MAE"),
        *("NLL", "NLL, constant", "90 % coverage", "confident", "accuracy", "majority"),
    )
    rows = [_question_row(name, scores) for name, scores in metrics["questions"].items()]
    overall = _question_row("all questions", {**metrics["overall"], "accuracy_confident": {}})
    note = (
        "NLL: negative log likelihood of a galaxy's votes on the question, in nats. Confident: "
        "galaxies with at least 20 votes of which more than 80 % agree; accuracy is the share "
        "of them whose answer the model names, majority what the best single answer reaches."
    )
    return _table(head, [*rows, overall], whole={len(rows)}) + f"<p><small>{note}</small></p>"


def _question_row(name: str, scores: Metrics) -> list[str]:
    confident = scores["accuracy_confident"]
    return [
        *_error_cells(name, scores),
        *(_number(scores["nll"]), _number(scores["nll_constant"]), _percent(scores["coverage_90"])),
        str(confident.get("n", "")),
        *(_percent(confident.get("accuracy")), _percent(confident.get("majority"))),
    ]


def _error_cells(name: str, scores: Metrics) -> list[str]:
    errors = (
        scores["rmse"],
        *(scores["baselines"][kind]["rmse"] for kind in ("ridge", "constant")),
        *(scores["noise_floor_rmse"], scores["mae"]),
    )
    return [name, str(scores["n"]), *map(_number, errors)]


def _answers_table(metrics: Metrics) -> str:
    rows: list[list[str]] = []
    whole: set[int] = set()
    for name, question in metrics["questions"].items():
        whole.add(len(rows))
        rows.append(_error_cells(name, question))
        rows += [_error_cells(answer, scores) for answer, scores in question["answers"].items()]
    head = ("answer", "galaxies", "RMSE", "ridge", "constant", "vote noise", "MAE")
    return _table(head, rows, whole)


def _table(head: tuple[str, ...], rows: list[list[str]], whole: set[int]) -> str:
    """Lay out a table; the rows in ``whole`` sum up others."""
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        lines.append(f'<tr class="whole">{cells}</tr>' if index in whole else f"<tr>{cells}</tr>")
    return '<div class="table"><table>\n' + "\n".join(lines) + "\n</table></div>\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _footer(metrics: Metrics) -> str:
    inputs = metrics["origin"]["inputs"]
    parts = [f"{role} {digest[:16]}" for role, digest in inputs.items()]
    return escape(f"Content digests: {', '.join(parts)}; this evaluation {metrics['digest'][:16]}.")
