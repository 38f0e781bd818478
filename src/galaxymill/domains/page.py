"""The page that says how the images of two surveys differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from galaxymill.domains.side import Measured
from galaxymill.reporting.gallery import draw_gallery
from galaxymill.reporting.plots import COLOURS, panels, plain_axes
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.storage.digest import sha256_json

HISTOGRAMS, COLUMNS, BINS = 9, 3, 30
LITTLE = 0.55
"""An AUC up to this says that images can hardly be told apart."""
_SIDES = (COLOURS["model"], COLOURS["ridge_encoder"])
_KINDS = {
    "hand": "hand features, random forest",
    "frozen": "frozen features, logistic regression",
}
_AUC = {
    "features": "{kind}",
    "AUC": "{auc:.3f}",
    "90 % interval": "{low:.3f} to {high:.3f}",
    "galaxies of A": "{galaxies_a}",
    "galaxies of B": "{galaxies_b}",
}
_RANKED = {
    "feature": "{feature}",
    "AUC of it alone": "{auc:.3f}",
    "median of A": "{median_a:.4g}",
    "median of B": "{median_b:.4g}",
    "shift in σ of A": "{shift:+.2f}",
}


def draw_page(
    found: Mapping[str, Any],
    measured: Sequence[Measured],
    pictures: Sequence[Mapping[str, bytes]],
) -> Report:
    """Make the page of a comparison.

    ``measured`` and ``pictures`` are the hand features and the images of some galaxies of each
    survey; empty when only embeddings or features were given.
    """
    names = [f"{side}: {found[side.lower()]['survey']}" for side in "AB"]
    sections = [_known(found), _apart(found)]
    if measured:
        ranked = found["features"]
        sections.append(_what(ranked, measured, names))
        sections.append(_images(ranked, measured, pictures, names))
    metrics = {**found, "digest": sha256_json(found)}
    footer = f"{found['a']['path']} and {found['b']['path']}. Digest {metrics['digest'][:16]}."
    title = f"Images of {found['a']['survey']} and {found['b']['survey']}"
    return Report(title, _headline(found), sections, metrics, footer)


def _headline(found: Mapping[str, Any]) -> str:
    aucs = {key: found[key]["auc"] for key in _KINDS if found[key]}
    numbers = " and ".join(f"{auc:.2f} ({key} features)" for key, auc in aucs.items())
    if max(aucs.values()) <= LITTLE:
        return f"Galaxies of A and B can hardly be told apart: AUC {numbers}"
    first = found["features"][0]["feature"] if found["features"] else ""
    what = f"; most by {first}" if first else ""
    return f"Galaxies of A and B can be told apart: AUC {numbers}{what}"


def _known(found: Mapping[str, Any]) -> Section:
    text = "A model of A serves B, and a model of B serves A: they are one domain."
    if not found["one_domain"]:
        text = "A model that learned from one does not serve the other unless it is allowed to."
    columns = {"what": "{what}", "A": "{a}", "B": "{b}"}
    table = Table("differences", "What their origins say.", found["differences"], columns)
    return Section("What is known of them", [text], [table])


def _apart(found: Mapping[str, Any]) -> Section:
    text = (
        "A classifier learned to tell which survey an image is of, and was judged by galaxies that "
        "it had not seen. AUC is the chance that of two images, one of each survey, it names the "
        "right one: 0.5 is a guess, 1 is certainty. A galaxy that is in both surveys is never on "
        "both sides. Populations count, too: different kinds of galaxies are told apart as well."
    )
    rows = []
    for key, kind in _KINDS.items():
        if one := found[key]:
            low, high = one["interval"] or (None, None)
            rows.append({"kind": kind, **one, "low": low, "high": high})
    rows = [{key: value for key, value in row.items() if key != "interval"} for row in rows]
    return Section("Can they be told apart?", [text], [Table("auc", "AUC.", rows, _AUC)])


def _what(
    ranked: Sequence[Mapping[str, Any]], measured: Sequence[Measured], names: Sequence[str]
) -> Section:
    text = (
        "Each feature alone, the one that differs most first. Its AUC is the share of pairs in "
        "which the galaxy of B has the larger value: above 0.5 it is larger in B, below in A. "
        "Features are measured on the images as they are drawn; brightness is 0 to 1, radii are "
        "shares of the image's side."
    )
    table = Table("features", "Features by how much they differ.", ranked, _RANKED)
    plot = Plot("histograms", "Those that differ most.", _histograms(ranked, measured, names))
    return Section("What differs", [text], [table], [plot])


def _histograms(
    ranked: Sequence[Mapping[str, Any]], measured: Sequence[Measured], names: Sequence[str]
) -> Figure:
    shown = [row["feature"] for row in ranked[:HISTOGRAMS]]
    figure, axes_list = panels(len(shown), COLUMNS, 2.9, 1.9)
    for axes, feature in zip(axes_list, shown, strict=True):
        index = measured[0].names.index(feature)
        values = [one.values[:, index] for one in measured]
        low, high = np.quantile(np.concatenate(values), [0.005, 0.995])
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        for one, colour, name in zip(values, _SIDES, names, strict=True):
            counts, _ = np.histogram(one, edges)
            axes.stairs(counts / len(one), edges, fill=True, color=colour, alpha=0.45, label=name)
        axes.set(xlabel=feature, ylabel="share" if axes in axes_list[::COLUMNS] else "")
        plain_axes(axes)
    handles, labels = axes_list[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, ncols=2, loc="outside upper center")
    return figure


def _images(
    ranked: Sequence[Mapping[str, Any]],
    measured: Sequence[Measured],
    pictures: Sequence[Mapping[str, bytes]],
    names: Sequence[str],
) -> Section:
    text = "Galaxies drawn at random; where both surveys have a galaxy, it is drawn in both."
    shown = [row["feature"] for row in ranked[:2]]
    plots = []
    for one, images, name, key in zip(measured, pictures, names, "ab", strict=True):
        columns = [one.names.index(feature) for feature in shown]
        galaxies = []
        for galaxy in sorted(images):
            values = one.values[one.ids.index(galaxy), columns]
            numbers = zip(shown, values, strict=True)
            lines = [f"{feature} {value:.3g}" for feature, value in numbers]
            galaxies.append((galaxy, images[galaxy], lines))
        figure = draw_gallery(galaxies, name)
        plots.append(Plot(f"images_{key}", f"{name}.", figure, vector=False))
    return Section("To look at", [text], plots=plots)
