"""A page on what is still seen: of each answer its surface, and how well it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from galaxymill.detectability.check import Bins
from galaxymill.detectability.covariates import View
from galaxymill.detectability.settings import DetectabilitySettings
from galaxymill.detectability.surface import FEWEST, Seen, Values
from galaxymill.reporting.plots import COLOURS, INK, clip, panels, plain_axes
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.statistics.bootstrap import mean, number
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin

_AXES = {
    "size_fwhm": "half-light radius / FWHM",
    "contrast": "depth - surface brightness",
    "redshift": "redshift",
}
_BANDS = ("#9ecae1", "#3182bd", "#08306b")


@dataclass(frozen=True)
class Found:
    """What was found of one answer: its rows at the knots, its copies, how they were checked."""

    answer: str
    table: pa.Table
    seen: Seen
    checked: Bins

    def grid(self, column: str) -> Values:
        """Values at the knots, with an axis for each covariate: all but redshift ascend."""
        shape = [len(np.unique(self.table[name].to_numpy())) for name in self.axes]
        return np.asarray(self.table[column].to_numpy().reshape(shape))

    @property
    def axes(self) -> list[str]:
        """Covariates of the surface."""
        return [name for name in _AXES if self.table[name].null_count == 0]

    def knots(self, axis: int) -> Values:
        """Knots along one covariate, in the order of the grid."""
        values = np.unique(self.table[self.axes[axis]].to_numpy())
        return values[::-1] if self.axes[axis] == "redshift" else values

    def row(self) -> dict[str, Any]:
        """Numbers of the answer, for the page."""
        kept = self.table["detectable"].drop_null().to_numpy()
        copies = self.seen.weight.sum()
        return {
            "answer": self.answer,
            "copies": len(self.seen.far),
            "near": number(self.seen.weight @ self.seen.near / copies) if copies else None,
            "far": number(self.seen.weight @ self.seen.far / copies) if copies else None,
            "least": number(kept.min()) if len(kept) else None,
            "most": number(kept.max()) if len(kept) else None,
            "made_up": mean(self.table["made_up"].to_numpy()),
            "bins": len(self.checked.found),
            "worst": number(self.checked.worst),
            "held": number(self.checked.held),
        }


def make_report(
    name: str,
    found: Sequence[Found],
    settings: DetectabilitySettings,
    told: Sequence[str],
    origin: Origin,
) -> Report:
    """Make the page; ``told`` are the answers that a release has columns of."""
    rows = [one.row() for one in found]
    shown = [one for one in found if one.answer in told]
    galaxies = max((len(np.unique(one.seen.galaxy)) for one in found), default=0)
    views = [View.model_validate(one) for one in origin.parameters["views"]]
    metrics: dict[str, Any] = {"galaxies": galaxies, "answers": rows}
    metrics |= {"origin": origin.to_dict(), "digest": sha256_json(metrics)}
    headline = (
        f"{galaxies} galaxies, each as {len(views)} far survey{'s'[: len(views) != 1]} show it"
    )
    sections = [
        Section("Far surveys", [_NOT_MODELLED], [_views(views)]),
        Section("Answers", [_MEANING], [Table("answers", _CAPTION, rows, _COLUMNS)]),
        Section(
            "Surfaces",
            [_SURFACES.format(below=settings.lower_limit)],
            plots=[
                Plot("surfaces", _HEAT, _draw_surfaces(shown, settings.lower_limit), vector=False),
                Plot("curves", _CURVES, _draw_curves(shown, settings.lower_limit)),
            ],
        ),
        Section("Check", [_CHECKED], plots=[Plot("check", _DOTS, _draw_check(shown))]),
    ]
    footer = f"Content digest {metrics['digest'][:16]}."
    return Report(f"Detectability: {name}", headline, sections, metrics, footer)


def _views(views: Sequence[View]) -> Table:
    rows: list[Mapping[str, Any]] = [
        {
            "moved": f"to redshift {one.redshift:g}" if one.redshift else f"{one.farther:g} times",
            "seeing": one.seeing,
            "depth": one.depth,
        }
        for one in views
    ]
    columns = {"moved": "{moved}", "FWHM (arcsec)": "{seeing:.2f}", "depth (mag)": "{depth:.2f}"}
    return Table("views", "How each far survey shows the galaxies.", rows, columns)


def _middle(values: Values, axes: int) -> Values:
    """The surface at the middle redshift, where there is one."""
    return values if axes == 2 else values[:, :, values.shape[2] // 2]


def _draw_surfaces(found: Sequence[Found], below: float) -> Figure:
    figure, axes = panels(len(found), 4, 2.6, 2.3)
    drawn: Any = None
    for one, place in zip(found, axes, strict=True):
        values = _middle(one.grid("detectable"), len(one.axes))
        x, y = one.knots(0), one.knots(1)
        drawn = place.pcolormesh(x, y, values.T, vmin=0, vmax=1, cmap="viridis", shading="gouraud")
        known = values[np.isfinite(values)]
        if len(known) and known.min() < below < known.max():
            place.contour(x, y, values.T, [below], colors="white", linewidths=1.2)
        _size_axis(place, one)
        place.set_ylabel(_AXES["contrast"])
    figure.colorbar(drawn, ax=axes, label="P(seen far | seen near)", shrink=0.8)
    return figure


def _draw_curves(found: Sequence[Found], below: float) -> Figure:
    """Draw each surface along size, with its intervals, at three contrasts."""
    figure, axes = panels(len(found), 4, 2.6, 2.1)
    for one, place in zip(found, axes, strict=True):
        mid, low, high = (
            _middle(one.grid(name), len(one.axes)) for name in ("detectable", "low", "high")
        )
        chosen = np.linspace(1, mid.shape[1] - 2, 3).astype(int)
        for column, colour in zip(chosen, _BANDS, strict=True):
            label = f"{one.knots(1)[column]:.1f} mag"
            place.plot(one.knots(0), mid[:, column], color=colour, label=label)
            bounds = low[:, column], high[:, column]
            place.fill_between(one.knots(0), *bounds, color=colour, alpha=0.25, lw=0)
        place.axhline(below, color=COLOURS["constant"], lw=1, ls="--")
        place.set(ylim=(0, 1.02), ylabel="still seen")
        _size_axis(place, one)
        place.legend(fontsize=6, frameon=False, title=None)
    return figure


def _size_axis(axes: Axes, one: Found) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter("{x:.2g}")
    axes.xaxis.set_minor_locator(MaxNLocator(1))
    axes.set_title(clip(one.answer, 34), fontsize=7)
    axes.set_xlabel(_AXES["size_fwhm"])
    plain_axes(axes)


def _draw_check(found: Sequence[Found]) -> Figure:
    figure, axes = panels(len(found), 4, 2.3, 2.3)
    for one, place in zip(found, axes, strict=True):
        bins = one.checked
        place.plot([0, 1], [0, 1], color=COLOURS["constant"], lw=1)
        error = 1.645 * bins.error
        place.errorbar(bins.expected, bins.found, error, fmt="o", ms=2, lw=0.7, color=INK)
        most = max(0.05, *bins.expected, *bins.found) * 1.1
        place.set(xlim=(0, most), ylim=(0, most), xlabel="expected", ylabel="found")
        place.set_title(clip(one.answer, 30), fontsize=7)
        plain_axes(place)
    return figure


_NOT_MODELLED = (
    "Each galaxy is compared with itself as a far survey would show it. What is not in those images "
    "is not in these numbers: colours are not shifted by redshift (no K-correction), galaxies do "
    "not evolve, and a far prediction says what its model sees, not what volunteers would."
)
_MEANING = (
    "Near and far are mean fractions. Least and most are the ends of the surface: the share of "
    "those who see it near who still see it far away. Made up: the share who say it far away "
    "though they would not say it near. Where least and most are alike, the surface is flat: what "
    "can be made out tells nothing about this answer, and a fraction can be corrected by nobody."
)
_CAPTION = (
    f"Worst: largest difference of a mean far fraction in a bin of at least {FEWEST} galaxies, "
    "which the surface did not learn from. Held: share of the bins whose 90 % interval holds it."
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
    "held": "{held:.0%}",
}
_SURFACES = (
    "Size is the half-light radius in units of the FWHM of point sources; contrast is the depth "
    "minus the mean surface brightness within that radius, in magnitudes. A surface never falls "
    "with either, nor rises with redshift. Below {below:g}, a release says that the fraction is a "
    "lower limit; outside the knots, and where too few galaxies were tried, it says nothing."
)
_HEAT = "P(seen far | seen near); white line: the limit. With redshift: at its middle knot."
_CURVES = "The same along size, at three contrasts; bands: 90 % intervals, galaxies drawn anew."
_CHECKED = (
    "Galaxies are cut in halves by their names, all copies of one together; each half is compared "
    "with the surface of the other."
)
_DOTS = "Mean far fractions by bin, with 90 % intervals of the difference."
