"""Pictures of a release: where it is on the sky, what its galaxies look like, their fractions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from galaxymill.release.audit import open_database
from galaxymill.release.documents.highlights import BINS, EXAMPLES, AnswerHighlights, Highlights
from galaxymill.release.sources import Part
from galaxymill.sky.healpix import HIGHEST_ORDER
from galaxymill.storage.parquet import open_parquet

_WIDE_DEG = 60
_MOST_POINTS = 40_000
Counts = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]


def draw_pictures(
    folder: Path, parts: Sequence[Part], counts: Counts | None, highlights: Highlights
) -> None:
    """Draw ``pictures/sky.png``, ``fractions.png`` and ``examples.png`` of a release.

    The first is left out without ``counts``, the galaxies in each pixel of ``HIGHEST_ORDER``.
    """
    from galaxymill.reporting.plots import own_style

    out = folder / "pictures"
    out.mkdir()
    with own_style():
        if counts is not None:
            _save(_sky(counts), out / "sky.png")
        if highlights.panels:
            _save(_histograms(highlights), out / "fractions.png")
            images = _images(folder, parts, highlights.answers)
            _save(_examples(highlights.answers, images), out / "examples.png")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})


def _sky(counts: Counts) -> Any:
    """Where the galaxies are: the whole sky, or the part of it that they are in."""
    from cdshealpix.nested import healpix_to_lonlat
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    order, counts = _coarse_enough(counts)
    pixels = np.flatnonzero(counts)
    lon, lat = healpix_to_lonlat(pixels.astype(np.uint64), order)
    ra, dec = lon.to_value("deg"), lat.to_value("deg")
    middle = np.angle(np.exp(1j * np.radians(ra)).mean(), deg=True)
    east = (ra - middle + 180) % 360 - 180
    wide = max(np.ptp(east), np.ptp(dec)) > _WIDE_DEG
    figure = Figure(figsize=(8, 4.5 if wide else 6), layout="constrained")
    axes = figure.add_subplot(projection="mollweide" if wide else None)
    style: dict[str, Any] = {
        "c": counts[pixels],
        "s": 4 if wide else 12,
        "cmap": "viridis",
        "linewidths": 0,
    }
    if wide:
        points = axes.scatter(-np.radians((ra + 180) % 360 - 180), np.radians(dec), **style)
        axes.set_xticklabels([f"{-angle % 360}°" for angle in range(-150, 180, 30)])
    else:
        points = axes.scatter(middle + east, dec, **style)
        axes.invert_xaxis()
        axes.set_aspect(1 / max(np.cos(np.radians(dec.mean())), 0.05))
        axes.set_xlabel("right ascension (degrees)")
        axes.set_ylabel("declination (degrees)")
    axes.grid(alpha=0.3)
    area = 4 * np.pi / len(counts) * np.degrees(1) ** 2 * 3600
    bar = figure.colorbar(points, label=f"galaxies in {area:.3g} square arcmin", shrink=0.7)
    bar.locator = MaxNLocator(integer=True)
    bar.update_ticks()
    return figure


def _coarse_enough(counts: Counts) -> tuple[int, Counts]:
    """Add pixels up until no more hold galaxies than a picture can show."""
    order = HIGHEST_ORDER
    while np.count_nonzero(counts) > _MOST_POINTS:
        order -= 1
        counts = counts.reshape(-1, 4).sum(axis=1)
    return order, counts


def _histograms(highlights: Highlights) -> Any:
    """How the values of each panel are distributed, where the question would be asked."""
    from matplotlib.figure import Figure

    edges = np.linspace(0, 1, BINS + 1)
    lines = -(-len(highlights.panels) // 3)
    figure = Figure(figsize=(12, 2.6 * lines), layout="constrained")
    for number, (panel, answers) in enumerate(highlights.panels, 1):
        axes = figure.add_subplot(lines, 3, number)
        if panel.adds_up:
            for each in answers:
                axes.stairs(each.counts, edges, label=each.answer.name)
            axes.set_xlim(0, 1)
            axes.legend(fontsize=6, frameon=False)
        else:
            axes.hist(np.concatenate([[], *answers[0].values]), 2 * BINS, histtype="step")
        axes.set_title(panel.title, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
    figure.supxlabel("expected fraction, probability or number", fontsize=9)
    figure.supylabel("galaxies, where they would be asked", fontsize=9)
    return figure


def _images(
    folder: Path, parts: Sequence[Part], answers: Sequence[AnswerHighlights]
) -> dict[str, Image]:
    """Read the images of some galaxies; those that cannot be decoded are left out."""
    from galaxymill.decoding.decode import PayloadError, read_raster

    wanted = {object_id for each in answers for object_id, _ in each.examples}
    tiles = {str(part.files["tile"]): part for part in parts}
    query = """
        SELECT DISTINCT filename
        FROM read_parquet($tiles, filename = true, hive_partitioning = false)
        WHERE object_id IN (SELECT unnest($wanted)) ORDER BY filename
    """
    with open_database(folder) as database:
        values = {"tiles": list(tiles), "wanted": sorted(wanted)}
        holders = database.execute(query, values).fetchall()
    pictures = {}
    for (tile,) in holders:
        for object_id, payload in _payloads(tiles[tile].files["images"], wanted):
            try:
                pictures[object_id] = read_raster(payload)
            except PayloadError:
                continue
    return pictures


def _payloads(images: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """Read those row groups that hold any of some galaxies."""
    with open_parquet(images) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, ["object_id"])["object_id"].to_pylist()
            places = [place for place, object_id in enumerate(ids) if object_id in wanted]
            if places:
                found = file.read_row_group(group, ["image"])["image"].take(places).to_pylist()
                for place, image in zip(places, found, strict=True):
                    if image is not None:
                        yield ids[place], image["bytes"]


def _examples(
    answers: Sequence[AnswerHighlights], images: Mapping[str, npt.NDArray[np.uint8]]
) -> Any:
    """One line an answer; in one axes, for to lay out hundreds of them would take seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.25 * (EXAMPLES + 1.4), 1.25 * len(answers)))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-1.4, EXAMPLES), ylim=(len(answers), 0))
    axes.axis("off")
    for line, each in enumerate(answers):
        title = f"{each.panel.title}:\n{each.answer.name}"
        axes.text(-0.08, line + 0.55, title, size=7, ha="right", va="center")
        for place, (object_id, value) in enumerate(each.examples):
            text = f"{value:.0%}" if each.panel.adds_up else f"{value:.3g}"
            axes.text(place + 0.5, line + 0.1, text, size=7, ha="center", va="center")
            if object_id in images:
                inside = (place + 0.08, place + 0.92, line + 1, line + 0.16)
                axes.imshow(images[object_id], extent=inside, aspect="auto")
    axes.set(xlim=(-1.4, EXAMPLES), ylim=(len(answers), 0))
    return figure
