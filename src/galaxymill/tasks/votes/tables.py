"""Tables of scores, for the page and as CSV files."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from galaxymill.reporting.plots import short_names
from galaxymill.reporting.report import Row, Table, bounds, decimal, ends, percent, text
from galaxymill.statistics.baselines import NAMES
from galaxymill.statistics.calibration import verdict
from galaxymill.tasks.votes.scores import ASKED, CONFIDENT_FRACTION, CONFIDENT_VOTES, MIN_VOTES

ALL = "all questions"

_SHORT = {
    "constant": "constant",
    "dirichlet": "Dirichlet",
    "ridge": "hand features",
    "ridge_encoder": "frozen encoder",
}

_SCORES = ("precision", "recall", "f1")

Metrics = Mapping[str, Any]


def _error_row(head: Row, scores: Metrics) -> dict[str, Any]:
    row = {
        **head,
        "n": scores["n"],
        "rmse": scores["rmse"],
        **ends("rmse", scores["rmse_interval"]),
        "mae": scores["mae"],
        **ends("mae", scores["mae_interval"]),
        "noise_floor_rmse": scores["noise_floor_rmse"],
    }
    for kind, other in scores["baselines"].items():
        row |= {f"{kind}_rmse": other["rmse"], f"{kind}_mae": other["mae"]}
        row |= {f"{kind}_difference": other["difference"]}
        row |= ends(f"{kind}_difference", other["difference_interval"])
    if "nll" in scores:
        row |= {"nll": scores["nll"], "nll_constant": scores["nll_constant"]}
        row |= ends("nll_difference", scores["nll_difference_interval"])
    return row


def _error_columns(rows: Sequence[Row]) -> dict[str, Any]:
    kinds = [kind for kind in NAMES if f"{kind}_rmse" in rows[0]] if rows else []
    return {
        "galaxies": text("n"),
        "RMSE": decimal("rmse"),
        "95 % interval": bounds("rmse"),
        **{_SHORT[kind]: decimal(f"{kind}_rmse") for kind in kinds},
        "minus constant": bounds("constant_difference"),
        "vote noise": decimal("noise_floor_rmse"),
        "MAE": decimal("mae"),
    }


def _short(rows: Sequence[Row]) -> Callable[[Row], str]:
    """Show a question by its short name."""
    questions = dict.fromkeys(row["question"] for row in rows if row["question"] != ALL)
    names = {ALL: ALL, **short_names(list(questions))}
    return lambda row: names[row["question"]]


def questions_table(metrics: Metrics) -> Table:
    """Lay out errors and likelihoods, a row a question."""
    rows = [
        _error_row({"question": name}, scores)
        for name, scores in {**metrics["questions"], ALL: metrics["overall"]}.items()
    ]
    columns = {
        "question": _short(rows),
        **_error_columns(rows),
        "NLL": decimal("nll"),
        "constant's NLL": decimal("nll_constant"),
    }
    caption = (
        "RMSE of vote fractions by question, with its 95 % bootstrap interval over galaxies, and "
        "that of the baselines: one constant for all; the mean of one Dirichlet–multinomial for "
        "all; linear fits to hand-made features and to the frozen encoder. “Minus constant” is the "
        "interval of the paired difference to the constant. NLL: negative log likelihood of a "
        "galaxy's votes, in nats, by the model and by the one Dirichlet–multinomial."
    )
    return Table("metrics", caption, rows, columns, lambda row: row["question"] == ALL)


def answers_table(metrics: Metrics) -> Table:
    """Lay out errors, a row an answer."""
    rows = [
        _error_row({"question": name, "answer": answer}, scores)
        for name, question in metrics["questions"].items()
        for answer, scores in question["answers"].items()
    ]
    short = _short(rows)
    columns = {"answer": lambda row: f"{short(row)}: {row['answer']}", **_error_columns(rows)}
    return Table("answers", "The same by answer.", rows, columns, shown="folded")


def classification_table(metrics: Metrics) -> Table:
    """Lay out accuracy, precision, recall and F1, a row a question and sample."""
    rows = []
    for sample in ("asked", "confident"):
        for name, question in metrics["questions"].items():
            scores = question["classification"][sample]
            if scores["n"]:
                rows.append(_class_row(name, sample, scores))
    columns = {
        "question": _short(rows),
        "galaxies": text("galaxies"),
        "n": text("n"),
        "accuracy": percent("accuracy"),
        "majority": percent("majority_accuracy"),
        "precision": decimal("precision_macro"),
        "recall": decimal("recall_macro"),
        "F1": decimal("f1_macro"),
        "majority's F1": decimal("majority_f1_macro"),
        "weighted: precision": decimal("precision_weighted"),
        "recall ": decimal("recall_weighted"),
        "F1 ": decimal("f1_weighted"),
        "majority's F1 ": decimal("majority_f1_weighted"),
    }
    caption = (
        "The model's most likely answer against the volunteers' most frequent one. Asked: "
        f"galaxies of which more than {ASKED:.0%} of the volunteers came to the question, with at "
        f"least {MIN_VOTES} votes; confident: at least {CONFIDENT_VOTES} votes of which more than "
        f"{CONFIDENT_FRACTION:.0%} agree. Precision, recall and F1 are means over answers, then "
        "weighted by how frequent they are. Majority: always the most frequent answer."
    )
    return Table("classification", caption, rows, columns)


def _class_row(question: str, sample: str, scores: Metrics) -> dict[str, Any]:
    kinds = [f"{score}_{kind}" for kind in ("macro", "weighted") for score in _SCORES]
    return {
        "question": question,
        "galaxies": sample,
        "n": scores["n"],
        "accuracy": scores["accuracy"],
        **ends("accuracy", scores["accuracy_interval"]),
        **{kind: scores[kind] for kind in kinds},
        "majority_answer": scores["majority"]["answer"],
        **{f"majority_{kind}": scores["majority"][kind] for kind in ("accuracy", *kinds)},
    }


def calibration_table(name: str, caption: str, parts: Mapping[str, Metrics], whole: str) -> Table:
    """Lay out coverages, a row a part; ``whole`` is the row that pools the others."""
    rows = []
    for part, scores in parts.items():
        covered = scores["coverage"]
        rows.append(
            {
                "question": part,
                "n": scores["n"],
                **{f"coverage_{level}": each["value"] for level, each in covered.items()},
                **ends("coverage_90", covered["90"]["interval"]),
                "verdict": verdict(scores),
            }
        )
    columns = {
        "question": _short(rows),
        "galaxies": text("n"),
        **{f"{level} %": percent(f"coverage_{level}") for level in ("10", "50", "80", "90", "95")},
        "verdict": text("verdict"),
    }
    return Table(name, caption, rows, columns, lambda row: row["question"] == whole)


def truth_table(parts: Mapping[str, Metrics]) -> Table:
    """Lay out errors against simulated truth, a row a question."""
    rows = [
        {
            "question": name,
            "n": scores["n"],
            "rmse": scores["rmse"],
            **ends("rmse", scores["rmse_interval"]),
            "rmse_votes": scores["rmse_votes"],
        }
        for name, scores in parts.items()
    ]
    columns = {
        "question": _short(rows),
        "galaxies": text("n"),
        "RMSE of the model": decimal("rmse"),
        "95 % interval": bounds("rmse"),
        "RMSE of the votes": decimal("rmse_votes"),
    }
    caption = (
        "Errors against the fractions that the simulated volunteers were drawn from, without the "
        "noise of votes; beside them the error of the observed fractions themselves."
    )
    return Table("truth", caption, rows, columns, lambda row: row["question"] == ALL)
