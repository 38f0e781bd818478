"""A page on what is still seen: of each answer its surface, and how well it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from galaxymill.detectability.check import Bins
from galaxymill.detectability.covariates import View
from galaxymill.detectability.surface import FEWEST, Bases, Seen, Values
from galaxymill.reporting.plots import COLOURS, clip, panels, plain_axes
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.statistics.bootstrap import mean, number
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin

_BANDS = ("#9ecae1", "#3182bd", "#08306b")


@dataclass(frozen=True)
class Found:
    """What was found of one answer: its rows at the knots, its copies, how they were checked."""

    answer: str
    bases: Bases
    table: pa.Table
    seen: Seen
    checked: Bins

    def grid(self, column: str) -> Values:
        """Values at the knots of size and contrast, at the middle redshift, if there is one."""
        shape = [len(own) for own in self.bases.knots]
        values = self.table[column].to_numpy().reshape(*shape[:2], -1)
        return np.asarray(values[:, :, values.shape[2] // 2])

    def row(self) -> dict[str, Any]:
        """Numbers of the answer, for the page."""
        kept, copies = self.table["detectable"].drop_null().to_numpy(), self.seen.weight.sum()
        return {
            "answer": self.answer,
            "copies": len(self.seen.far),
            "near": number(self.seen.weight @ self.seen.near / max(copies, 1e-9)),
            "far": number(self.seen.weight @ self.seen.far / max(copies, 1e-9)),
            "least": number(kept.min(initial=np.inf)),
            "most": number(kept.max(initial=-np.inf)),
            "made_up": mean(self.table["made_up"].to_numpy()),
            "bins": len(self.checked.found),
            "worst": number(self.checked.worst),
            "misfit": number(self.checked.misfit),
        }


def make_report(name: str, found: Sequence[Found], origin: Origin) -> Report:
    """Make the page of what was found of each answer."""
    rows, below = [one.row() for one in found], origin.parameters["lower_limit"]
    views = [View.model_validate(one) for one in origin.parameters["views"]]
    galaxies = max(len(np.unique(one.seen.galaxy)) for one in found)
    metrics: dict[str, Any] = {"galaxies": galaxies, "answers": rows}
    metrics |= {"origin": origin.to_dict(), "digest": sha256_json(metrics)}
    surfaces = [
        Plot("surfaces", _HEAT, _draw_surfaces(found, below), vector=False),
        Plot("curves", _CURVES, _draw_curves(found, below)),
    ]
    sections = [
        Section("Far surveys", [_NOT_MODELLED], [_views(views)]),
        Section("Answers", _MEANING, [Table("answers", _CAPTION, rows, _COLUMNS)]),
        Section("Surfaces", [_SURFACES.format(below=below)], plots=surfaces),
    ]
    headline = f"{galaxies} galaxies near and far; far surveys: {len(views)}"
    footer = f"Content digest {metrics['digest'][:16]}."
    return Report(f"Detectability: {name}", headline, sections, metrics, footer)


def _views(views: Sequence[View]) -> Table:
    rows: list[Mapping[str, Any]] = [
        {
            "moved": f"to redshift {one.redshift:g}" if one.redshift else f"{one.farther:g} times",
            **one.model_dump(include={"seeing", "depth"}),
        }
        for one in views
    ]
    columns = {"moved": "{moved}", "FWHM (arcsec)": "{seeing:.2f}", "depth (mag)": "{depth:.2f}"}
    return Table("views", "How each far survey shows the galaxies.", rows, columns)


def _draw_surfaces(found: Sequence[Found], below: float) -> Figure:
    figure, axes = panels(len(found), 4, 2.6, 2.3)
    for one, place in zip(found, axes, strict=True):
        values, (size, contrast) = one.grid("detectable").T, one.bases.knots[:2]
        known = values[np.isfinite(values)]
        drawn = place.pcolormesh(
            np.exp(size), contrast, values, vmin=0, vmax=1, cmap="viridis", shading="gouraud"
        )
        if known.min(initial=1) < below < known.max(initial=0):
            place.contour(np.exp(size), contrast, values, [below], colors="white", linewidths=1.2)
        place.set_ylabel("contrast (mag)")
        _size_axis(place, one)
    figure.colorbar(drawn, ax=axes, label="P(seen far | seen near)", shrink=0.8)
    return figure


def _draw_curves(found: Sequence[Found], below: float) -> Figure:
    """Draw each surface along size, with its intervals, at three contrasts."""
    figure, axes = panels(len(found), 4, 2.6, 2.1)
    for one, place in zip(found, axes, strict=True):
        middle, low, high = (one.grid(name) for name in ("detectable", "low", "high"))
        size, contrast = np.exp(one.bases.knots[0]), one.bases.knots[1]
        chosen = np.linspace(0, len(contrast) - 1, 5)[1:-1].round().astype(int).tolist()
        for column, colour in zip(chosen, _BANDS, strict=True):
            label = f"{contrast[column]:.1f} mag"
            place.plot(size, middle[:, column], ".-", ms=3, color=colour, label=label)
            bounds = low[:, column], high[:, column]
            place.fill_between(size, *bounds, color=colour, alpha=0.25, lw=0)
        place.axhline(below, color=COLOURS["constant"], lw=1, ls="--")
        place.set(ylim=(0, 1.02), ylabel="still seen")
        place.legend(fontsize=6, frameon=False)
        _size_axis(place, one)
    return figure


def _size_axis(axes: Axes, one: Found) -> None:
    # Where nothing is known, there are no data that would say how far the axis goes.
    axes.set(xscale="log", xlim=np.exp(one.bases.knots[0][[0, -1]]))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.2g}")
    axes.set_title(clip(one.answer, 34), fontsize=7)
    axes.set_xlabel("half-light radius / FWHM")
    plain_axes(axes)


_NOT_MODELLED = (
    "Each galaxy is compared with itself as a far survey would show it. What is not in those "
    "images is not in these numbers: colours are not shifted by redshift (no K-correction), "
    "galaxies do not evolve, and a far prediction says what its model sees, not what volunteers "
    "would."
)
_MEANING = [
    "Near and far are mean fractions. Least and most are the ends of the surface: the share of "
    "those who see it near who still see it far away. Made up: the share who say it far away "
    "though they would not say it near.",
    "Where least and most are alike, the surface is flat: size and brightness tell nothing about "
    "this answer. No fraction is corrected; a low share says that the fraction is a lower limit.",
    "Check: galaxies are cut in halves by their names, all copies of one together, and the mean "
    "far fractions of either half, in bins, are compared with what the other half's surface "
    "expects.",
]
_CAPTION = (
    f"Worst: largest difference in a bin of at least {FEWEST} galaxies. Misfit: what the "
    "galaxies' scatter leaves unexplained, a standard deviation of the surface; intervals hold it."
)
_COLUMNS = {
    "answer": "{answer}",
    "copies": "{copies}",
    "near": "{near:.3f}",
    "far": "{far:.3f}",
    "least": "{least:.2f}",
    "most": "{most:.2f}",
    "made up": "{made_up:.2f}",
    "bins": "{bins}",
    "worst": "{worst:.3f}",
    "misfit": "{misfit:.3f}",
}
_SURFACES = (
    "Size is the half-light radius in units of the FWHM of point sources; contrast is the depth "
    "minus the mean surface brightness within that radius. A surface never falls with either, nor "
    "rises with redshift. Below {below:g}, a release says that the fraction is a lower limit; "
    "outside the knots, and where too few galaxies were tried, it says nothing."
)
_HEAT = "P(seen far | seen near); white line: the limit. With redshift: at its middle knot."
_CURVES = "The same along size, at three contrasts; bands: 90 % intervals."
