"""What a report is made from, and what it finds, whatever the model predicts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galaxymill.reporting.gallery import Line, choose_galleries, draw_gallery
from galaxymill.reporting.plots_by import draw_errors_by
from galaxymill.reporting.report import Plot, Section, Table
from galaxymill.statistics.baselines import Features
from galaxymill.statistics.bootstrap import Values
from galaxymill.statistics.covariates import Errors, errors_by
from galaxymill.tasks.task import Task


@dataclass(frozen=True)
class Material:
    """Predictions and labels of the n test galaxies, and what the baselines learn from.

    Attributes
    ----------
    task : Task
        What the model predicts.
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

    task: Task
    object_ids: Sequence[str]
    labels: Values
    samples: Values
    train_labels: Values
    fitted_labels: Values
    features: Features
    covariates: Mapping[str, Values]
    truth: Path | None
    pictures: Callable[[Iterable[str]], dict[str, bytes]]


@dataclass(frozen=True)
class Findings:
    """Numbers for ``metrics.json`` and sections for the page."""

    metrics: dict[str, Any]
    headline: str
    sections: list[Section]


_GALLERIES = {
    "gallery": "Test galaxies drawn at random.",
    "gallery_best": "The test galaxies predicted best.",
    "gallery_worst": "The test galaxies predicted worst: look here for wrong images, odd labels, "
    "and what the model cannot see.",
    "gallery_uncertain": "The test galaxies that the model itself is least sure of.",
}


def galleries(
    material: Material,
    errors: Values,
    uncertainties: Values,
    lines: Callable[[str], Sequence[Line | str]],
    note: str,
    legend: str,
) -> Section:
    """Draw the four galleries.

    Parameters
    ----------
    material : Material
    errors, uncertainties : ndarray, shape (n,)
        What "best", "worst" and "uncertain" mean.
    lines : callable
        What stands under a galaxy.
    note : str
        Says in words how galaxies are ranked.
    legend : str
        Of each figure.
    """
    chosen = choose_galleries(material.object_ids, errors, uncertainties)
    pictures = material.pictures(key for keys in chosen.values() for key in keys)
    plots = [
        Plot(name, _GALLERIES[name], draw_gallery(keys, pictures, lines, legend), vector=False)
        for name, keys in chosen.items()
    ]
    return Section("Galaxies", [note], plots=plots)


def dependence(
    material: Material,
    errors: Sequence[Errors],
    votes: Mapping[str, Values],
    names: Mapping[str, str],
    label: str,
) -> Section:
    """Show errors against the catalogue's columns and the number of votes."""
    rows = errors_by(errors, material.covariates, votes)
    what = list(dict.fromkeys(row["covariate"] for row in rows))
    text = f"Columns that errors are binned by: {', '.join(what)}." if what else ""
    caption = (
        "Errors in bins of equal number, at the median of each bin. An error that grows where "
        "images get worse (faint, small, far) is as expected; one that is large where they are "
        "good is a fault. Errors against the number of votes should follow the noise of the votes."
    )
    table = Table("errors_by", "Errors by covariate.", rows, shown="file")
    plot = Plot("errors_by", caption, draw_errors_by(rows, names, label))
    return Section("Errors by magnitude, size and votes", [text] if text else [], [table], [plot])


def argmax(labels: Values) -> Any:
    """Index of the class of each galaxy; shape (n,)."""
    return np.asarray(labels.argmax(axis=1), dtype=np.int64)
