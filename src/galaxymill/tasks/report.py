"""Input and content of a report, and the sections that all tasks share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxymill.reporting.gallery import Line, draw_galleries
from galaxymill.reporting.plots import draw_calibration, short_names
from galaxymill.reporting.plots_by import draw_errors_by
from galaxymill.reporting.report import Plot, Section, Table
from galaxymill.reporting.tables import flatten
from galaxymill.statistics.baselines import Features
from galaxymill.statistics.bootstrap import Values
from galaxymill.statistics.calibration import verdict
from galaxymill.statistics.covariates import Errors, errors_by

ALL = "all questions"

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationData:
    """Predictions and labels of the n test galaxies, and what the baselines learn from.

    Attributes
    ----------
    object_ids : list of str, length n
        Sorted.
    labels : ndarray, shape (n, n_columns)
    samples : ndarray, shape (n, n_samples, width)
        As `galaxymill.inference.predictor.Predictor.predict` gives them.
    train_labels : ndarray, shape (n_train, n_columns)
        Of all training galaxies; of the test galaxies themselves where there are none.
    fitted_labels : ndarray, shape (n_fitted, n_columns)
        Of those that have features.
    features : mapping of str to (train, test)
        By linear baseline.
    covariates : mapping of str to ndarray, shape (n,)
        Numeric columns of the catalogue.
    truth : Path or None
        Table of a simulated sky.
    pictures : callable
        Reads the image files of a few galaxies.
    """

    object_ids: Sequence[str]
    labels: Values
    samples: Values
    train_labels: Values
    fitted_labels: Values
    features: Features
    covariates: Mapping[str, Values]
    truth: Path | None
    pictures: Callable[[Iterable[str]], dict[str, bytes]]

    def galleries(
        self,
        errors: Values,
        uncertainties: Values,
        lines: Callable[[int], Sequence[Line | str]],
        note: str,
        legend: str,
    ) -> Section:
        """Show galaxies, see `draw_galleries`; ``note`` says how they are ranked."""
        plots = draw_galleries(self.object_ids, errors, uncertainties, self.pictures, lines, legend)
        return Section("Galaxies", [note], plots=plots)


@dataclass(frozen=True)
class ReportContent:
    """Numbers for ``metrics.json`` and sections for the page."""

    metrics: dict[str, Any]
    headline: str
    sections: list[Section]


def scores_by_prediction(overall: Metrics) -> list[dict[str, Any]]:
    """A row of scores for the model, and one for each baseline."""
    everyone = {"model": overall, **overall["baselines"]}
    unlike = ("baselines", "coverage", "majority")
    return [{"prediction": name, **flatten(each, *unlike)} for name, each in everyone.items()]


def calibration_parts(
    name: str,
    pooled: Metrics,
    parts: Mapping[str, Metrics],
    what: str,
    captions: tuple[str, str],
    kind: str = "posterior predictive",
    whole: str = ALL,
) -> tuple[str, Table, Plot]:
    """Compare coverage of predicted intervals with their probability: sentence, table and plot.

    Parameters
    ----------
    name : str
        Of table and plot.
    pooled, parts : mapping
        Scores of everything together, from `galaxymill.statistics.calibration.calibration`, with
        ``n`` and ``coverage_90``; the same by question.
    what : str
        What lies in the intervals, e.g. ``"observed counts"``.
    captions : tuple of str
        Of the table, and of the plot.
    kind, whole : str
        Of the intervals; what the row of ``pooled`` is called.
    """
    rows = [
        {"question": part, "n": scores["n"]}
        | flatten({"coverage": scores["coverage"]})
        | {"verdict": verdict(scores)}
        for part, scores in {**parts, whole: pooled}.items()
    ]
    columns = {
        "question": "{question}",
        "galaxies": "{n}",
        **{f"{level} %": f"{{coverage_{level}:.1%}}" for level in (10, 50, 80, 90, 95)},
        "verdict": "{verdict}",
    }
    names = short_names(parts)
    drawn = {names[part]: scores for part, scores in parts.items()}
    return (
        _calibration_sentence(pooled, parts, what, kind),
        Table(name, captions[0], rows, columns, names, whole if parts else ""),
        Plot(name, captions[1], draw_calibration(pooled, drawn, what)),
    )


def _calibration_sentence(
    pooled: Metrics, parts: Mapping[str, Metrics], what: str, kind: str
) -> str:
    if pooled["coverage_90"] is None:
        return f"The {kind} intervals could not be tested."
    low, high = (100 * bound for bound in pooled["coverage"]["90"]["interval"])
    text = (
        f"The 90 % {kind} intervals hold {100 * pooled['coverage_90']:.1f} % of the "
        f"{what} (95 % interval {low:.1f} to {high:.1f} %): {verdict(pooled)}."
    )
    judged: dict[str, list[str]] = {}
    for name, scores in parts.items():
        question = f"{name} ({100 * (scores['coverage_90'] or 0):.0f} %)"
        judged.setdefault(verdict(scores), []).append(question)
    for word in ("over-confident", "under-confident"):
        if word in judged:
            text += f" {word.capitalize()} on {', '.join(judged[word])}."
    if set(judged) == {"calibrated"} and len(parts) > 1:
        text += " So is every question by itself."
    return text


def dependence(
    data: EvaluationData,
    errors: Sequence[Errors],
    votes: Mapping[str, Values],
    names: Mapping[str, str],
    label: str,
) -> Section:
    """Show errors against the catalogue's columns and the number of votes."""
    rows = errors_by(errors, data.covariates, votes)
    what = list(dict.fromkeys(row["covariate"] for row in rows))
    text = f"Columns that errors are binned by: {', '.join(what)}." if what else ""
    caption = (
        "Errors in bins of equal number, at the median of each bin. Errors are expected to grow "
        "where images get worse (faint, small, far); large errors on good images point to a fault. "
        "Errors against the number of votes should follow the noise of the votes."
    )
    table = Table("errors_by", "Errors by covariate.", rows, shown="file")
    plot = Plot("errors_by", caption, draw_errors_by(rows, names, label))
    return Section("Errors by magnitude, size and votes", [text] if text else [], [table], [plot])
