"""Stage ``map``: a page that shows where the galaxies of a survey stand on the maps of a space."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from galaxymill import flags
from galaxymill.catalog.names import part_names
from galaxymill.images.pixels import ImageSource
from galaxymill.products import map_columns
from galaxymill.progress import progress
from galaxymill.reporting.plots import own_style
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.spaces.map_plots import draw_colours, draw_density, draw_thumbnails, nearest_to_grid
from galaxymill.spaces.space import Space, read_space, require_space
from galaxymill.splits import uniform
from galaxymill.statistics.covariates import read_covariates
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import read_batches

PAGE = "report.html"
CELLS = 256
"""Of the picture of the density, across and up."""
SAMPLE = 100_000
"""Galaxies that colours, thumbnails and accuracies are taken of, at most."""
TELLING = 0.8
"""Balanced accuracy above which a map is said to show something."""
_JUDGED = 10_000
_FEWEST = 100
_ROWS = 65536
_SHOWN = ("fraction", "probability", "mean")
"""Last word of the columns of a prediction that a map is coloured by."""
_MOST_COLOURS = 12

Values = npt.NDArray[np.float64]

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class MapSources:
    """What the page is made of: folders of ``{part}.parquet``, and the catalogue.

    ``parts`` is a CSV table with the column ``part``; ``catalog`` is ``objects.parquet``.
    """

    parts: Path
    features: Path
    predictions: Path
    images: Path
    catalog: Path


@dataclass
class _Galaxies:
    """What is counted of all galaxies, and some of them in full.

    ``sample`` is of galaxies with features: object_id, places, colours of the prediction.
    """

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    density: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    sample: pa.Table | None = None


def report_maps(space: Path, sources: MapSources, out: Path) -> None:
    """Write a page of the maps of a space, with its plots and tables beside it.

    Memory does not grow with the survey: all galaxies are counted, and of at most ``SAMPLE``, drawn
    by a hash of their names, all is kept.

    Parameters
    ----------
    space : Path
        ``space.yaml``.
    out : Path
        ``report.html``.

    Raises
    ------
    UserError
        When features are of another space.
    """
    fitted, digest = read_space(space)
    names = [f"{part}.parquet" for part in part_names(sources.parts)]
    records = [read_record(sources.features / name, "project") for name in names]
    for name in names:
        require_space(sources.features / name, digest)
    inputs = {"space": digest, "features": sha256_json([record.digest for record in records])}
    with exclusive(out):
        total = sum(record.rows for record in records)
        found = _read(fitted, sources, names, min(1.0, SAMPLE / max(total, 1)))
        with own_style(), atomic_tree(out.parent, out.name) as folder:
            report = _report(space.parent.name, fitted, found, sources, Origin("map", {}, inputs))
            report.write(folder, "metrics.json")
    logger.info("map: %s", report.headline)


def _read(space: Space, sources: MapSources, names: Sequence[str], limit: float) -> _Galaxies:
    """Count all galaxies on the maps, and keep those whose draw is below ``limit``."""
    found = _Galaxies(density={name: np.zeros((CELLS, CELLS), np.int64) for name in space.maps})
    tables = []
    with progress("map", len(names)) as advance:
        for number, name in enumerate(names):
            shown = _colours(pq.read_schema(sources.predictions / name))
            start = 0
            for rows in _features(sources.features / name, space):
                kept = _count(found, rows, limit)
                colours = _rows_of(sources.predictions / name, shown, start, rows.num_rows)
                start += rows.num_rows
                table = pa.table({**_columns(rows), **_columns(colours)}).filter(pa.array(kept))
                order = np.full(table.num_rows, number, np.float64)
                tables.append(table.append_column("partition", pa.array(order)))
            advance(1)
    if tables:
        found.sample = pa.concat_tables(tables, promote_options="default").combine_chunks()
    return found


def _features(path: Path, space: Space) -> Iterator[pa.Table]:
    columns = [column for name in space.maps for column in map_columns(name)]
    return read_batches(path, ["object_id", "flags", *columns], _ROWS)


def _rows_of(path: Path, columns: Sequence[str], start: int, count: int) -> pa.Table:
    """Read some rows of a partition's prediction, which has the same galaxies."""
    return pq.read_table(path, columns=list(columns)).slice(start, count)


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _colours(predicted: pa.Schema) -> list[str]:
    """Columns of a prediction that say what a galaxy is, not how sure that is."""
    return [
        one.name
        for one in predicted
        if pa.types.is_floating(one.type) and one.name.rsplit("_", 1)[-1] in _SHOWN
    ]


def _count(found: _Galaxies, rows: pa.Table, limit: float) -> npt.NDArray[np.bool_]:
    """Add rows to the counts; tell which of them are of the sample."""
    found.rows += rows.num_rows
    bits = rows["flags"].to_numpy()
    there = np.zeros(len(bits), bool)
    for name, cells in found.density.items():
        x, y = (rows[column].to_numpy() for column in map_columns(name))
        there = np.isfinite(x)
        cells += np.histogram2d(x[there], y[there], CELLS, [[0, 1], [0, 1]])[0].astype(np.int64)
    for value, number in zip(*np.unique(bits[~there], return_counts=True), strict=True):
        found.reasons[", ".join(flags.names(int(value))) or "no embedding"] += int(number)
    draws = [uniform(f"map:{one}") for one in rows["object_id"].to_pylist()] if limit < 1 else []
    return there & (np.array(draws) < limit) if draws else there


def _report(
    name: str, space: Space, found: _Galaxies, sources: MapSources, origin: Origin
) -> Report:
    lacking = sum(found.reasons.values())
    share = space.facts.get("share_of_variance")
    headline = (
        f"{found.rows - lacking:,} of {found.rows:,} galaxies stand on "
        f"{len(space.maps)} map{'s' if len(space.maps) != 1 else ''}."
    )
    text = [
        f"Space {name} has {len(space.components)} features of each galaxy"
        + (f", which hold {share:.1%} of the variance of the embeddings" if share else "")
        + ". A map puts galaxies that look alike near each other; its axes mean nothing.",
    ]
    reasons = [{"flags": key, "galaxies": n} for key, n in found.reasons.most_common()]
    columns = {"flags": "{flags}", "galaxies": "{galaxies:,}"}
    table = Table(
        "without_features", "Galaxies without features, by their flags.", reasons, columns
    )
    sections = [Section("Galaxies", text, [table])]
    by_place: list[dict[str, Any]] = []
    if found.sample is not None and found.sample.num_rows:
        known = _known(found.sample, sources)
        for one in space.maps:
            section, rows = _section(one, found, known, sources)
            sections.append(section)
            by_place += rows
    metrics = {"galaxies": found.rows, "without_features": lacking, "by_place": by_place}
    metrics |= {"facts": space.facts, "origin": origin.to_dict()}
    footer = "metrics.json holds the numbers of this page, the PNG files its pictures."
    return Report(f"Maps of {name}", headline, sections, metrics, footer)


def _known(sample: pa.Table, sources: MapSources) -> dict[str, Values]:
    """What is known of the sample's galaxies beside their looks: catalogue, partition."""
    known = read_covariates([sources.catalog], sample["object_id"].to_pylist())
    known["partition"] = sample["partition"].to_numpy()
    return {name: values for name, values in known.items() if np.ptp(_finite(values)) > 0}


def _finite(values: Values) -> Values:
    kept = values[np.isfinite(values)]
    return kept if len(kept) else np.zeros(1)


def _section(
    name: str, found: _Galaxies, known: Mapping[str, Values], sources: MapSources
) -> tuple[Section, list[dict[str, Any]]]:
    """Draw one map in all its colours, and say what a galaxy's place on it gives away."""
    sample = found.sample
    assert sample is not None
    places = np.stack([sample[c].to_numpy() for c in map_columns(name)], axis=1).astype(np.float64)
    by_place, warnings = list[dict[str, Any]](), []
    for key, values in known.items():
        accuracy, count = tell_halves(places, values)
        if count:
            row = {"map": name, "property": key, "balanced_accuracy": accuracy, "galaxies": count}
            by_place.append(row)
        if accuracy > TELLING:
            warnings.append(
                f"A classifier can tell from a galaxy's place on this map whether its {key} is "
                f"above the median, with a balanced accuracy of {accuracy:.0%} (50 % is chance). "
                f"Neighbours may be alike in their {key} rather than in their morphology."
            )
    columns = {
        "property": "{property}",
        "accuracy": "{balanced_accuracy:.3f}",
        "of": "{galaxies:,}",
    }
    table = Table(
        f"by_place_{name}",
        "How well the 25 nearest on the map say whether a value is above the median: balanced "
        "accuracy, cross-validated.",
        by_place,
        columns,
    )
    shown = {c: sample[c].to_numpy(zero_copy_only=False) for c in _colours(sample.schema)}
    # A question that few were asked would be a map of dust.
    spread = {c: np.nanstd(v) * np.isfinite(v).mean() for c, v in shown.items()}
    kept = sorted(shown, key=lambda column: -spread[column])[:_MOST_COLOURS]
    predicted = {column: value for column, value in shown.items() if column in kept}
    title = f"Map {name}"
    density, galaxies = draw_density(found.density[name]), _thumbnails(sample, places, sources)
    plots = [
        Plot(f"density_{name}", "How many galaxies stand where.", density, vector=False),
        Plot(f"galaxies_{name}", "Real galaxies, each near its place.", galaxies, vector=False),
    ]
    about = "Means of what the catalogue says, and of the partition's number."
    sets = (("predicted", "Means of what is predicted.", predicted), ("known", about, known))
    for file, caption, colours in sets:
        if colours:
            drawn = draw_colours(places, colours)
            plots.append(Plot(f"{file}_{name}", caption, drawn, vector=False))
    return Section(title, warnings, [table], plots), by_place


def tell_halves(places: Values, values: Values) -> tuple[float, int]:
    """Tell how well the place on a map says whether a value is above the median.

    Balanced accuracy of the 25 nearest in five-fold cross-validation, and of how many galaxies
    that is: 0 where too few have a value.

    Parameters
    ----------
    places : ndarray, shape (n, 2)
    values : ndarray, shape (n,)
        NaN where not known.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    rows = np.flatnonzero(np.isfinite(values))
    # Others as many again would say no more; they are in no order that matters.
    rows = np.random.default_rng(1).permutation(rows)[:_JUDGED]
    upper = values[rows] > np.median(values[rows]) if len(rows) else np.zeros(0, bool)
    if min(upper.sum(), (~upper).sum()) < _FEWEST // 2:
        return 0.0, 0
    folds = StratifiedKFold(5, shuffle=True, random_state=1)
    scores = cross_val_score(
        KNeighborsClassifier(25), places[rows], upper, scoring="balanced_accuracy", cv=folds
    )
    return round(float(scores.mean()), 4), len(rows)


def _thumbnails(sample: pa.Table, places: Values, sources: MapSources) -> Figure:
    """Draw the galaxy nearest to the middle of each square of a grid."""
    chosen = nearest_to_grid(places)
    ids = sample["object_id"]
    wanted = {str(ids[row]): where for where, row in chosen.items()}
    parts = part_names(sources.parts)
    at = sample["partition"].to_numpy()
    files = sorted({parts[int(at[row])] for row in chosen.values()})
    source = ImageSource.open([sources.images / f"{part}.parquet" for part in files])
    found = (pair for group in source.find(wanted, 0) for pair in group.read())
    return draw_thumbnails({wanted[key]: picture for key, picture in found})
