"""Stage ``interesting``: a page of what was found, what each rater likes, and who agrees."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from matplotlib.figure import Figure

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.interest.fit import read_given
from galaxymill.interest.process import Process, fit_process
from galaxymill.interest.ratings import HIGHEST, Ratings
from galaxymill.interest.store import Interest, read_interest
from galaxymill.probes.features import Features, find_features
from galaxymill.progress import progress
from galaxymill.reporting.gallery import draw_gallery
from galaxymill.reporting.plots import own_style, plain_axes
from galaxymill.reporting.report import Plot, Report, Section, Table
from galaxymill.search.folders import Folders, folders_of
from galaxymill.search.scan import Hit
from galaxymill.spaces.space import as_matrix
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, content_digest, read_record
from galaxymill.storage.parquet import read_columns

PAGE = "report.html"
LIKED = 4
"""Rating from which a galaxy counts as interesting."""
BEST, ACROSS = 100, 10
"""Galaxies of the gallery, and in each of its rows."""
_LIKES, _RATERS = 8, 6
"""Galaxies that are shown of what a rater likes, and raters whose likes are looked for."""
_NAMELESS = "(no name)"

Values = npt.NDArray[Any]

logger = logging.getLogger("galaxymill")


@dataclass
class _Found:
    """What the survey holds: counts, the best galaxies, and the best of each rater's."""

    galaxies: int = 0
    without: int = 0
    liked: int = 0
    best: list[Hit] = field(default_factory=list)
    deviations: dict[str, float] = field(default_factory=dict)
    likes: dict[str, list[Hit]] = field(default_factory=dict)


def report_interest(
    ratings: Sequence[Path], interest: Path, rated: Path, space: Path, out: Path
) -> None:
    """Write the page, with its plots and tables beside it.

    Parameters
    ----------
    ratings : sequence of Path
        Those that the interest learned from.
    interest : Path
        ``interest.yaml``.
    rated : Path
        Folder of what `galaxymill.interest.rate.rate_partition` made.
    space : Path
        ``space.yaml``; features, and images if there are any, are found beside it.
    out : Path
        ``report.html``.

    Raises
    ------
    UserError
        When partitions are rated by another interest.
    """
    fitted, digest = read_interest(interest)
    given = read_given(ratings, fitted.name)
    folders = folders_of(space)
    records = [read_record(rated / path.name, "rate") for path in folders.files]
    for path, record in zip(folders.files, records, strict=True):
        if record.origin["inputs"]["interest"] != digest:
            raise UserError(
                f"{rated / path.name}: rated by another interest than {interest}; run "
                "rate-partition again"
            )
    inputs = {f"ratings_{n}": content_digest(path) for n, path in enumerate(ratings, 1)}
    inputs |= {"interest": digest, "rated": sha256_json([record.digest for record in records])}
    with exclusive(out):
        processes = _processes(given, fitted, folders)
        found = _scan(fitted.name, folders, rated, processes)
        with own_style(), atomic_tree(out.parent, out.name) as folder:
            report = _report(fitted, given, found, folders, Origin("interesting", {}, inputs))
            report.write(folder, "metrics.json")
    logger.info("interest: %s", report.headline)


def _processes(given: Ratings, fitted: Interest, folders: Folders) -> dict[str, Process]:
    """Fit what each rater likes, of those who rated most; none where there is but one."""
    raters = sorted(given.by_rater, key=lambda rater: -len(given.by_rater[rater]))[:_RATERS]
    if len(given.by_rater) < 2:
        return {}
    names = {name for rater in raters for name in given.by_rater[rater]}
    known = find_features(folders.features / "features.csv", fitted.space, names)
    fitted_to = ((rater, _process_of(given.by_rater[rater], known, fitted)) for rater in raters)
    return {rater: process for rater, process in fitted_to if process}


def _process_of(own: Mapping[str, float], known: Features, fitted: Interest) -> Process | None:
    """Fit to one rater's ratings; None where they tell no galaxies apart."""
    names = sorted(name for name in own if name in known.rows)
    values = np.array([own[name] for name in names])
    if not len(set(values)) > 1:
        return None
    return fit_process(known.of(names), values, fitted.process.scale)


def _scan(name: str, folders: Folders, rated: Path, processes: Mapping[str, Process]) -> _Found:
    """Read every partition once, its features too where raters have processes of their own."""
    found = _Found(likes={rater: [] for rater in processes})
    mean, deviation, _ = products.interest_columns(name)
    with progress("interest", len(folders.files)) as advance:
        for path in folders.files:
            rows = read_columns(rated / path.name, ["object_id", mean, deviation])
            values = rows[mean].to_numpy()
            found.galaxies += len(values)
            found.without += int(np.isnan(values).sum())
            found.liked += int((values >= LIKED).sum())
            found.best = _better(found.best, path, rows["object_id"], values, BEST)
            kept = {hit.object_id for hit in found.best if hit.file == path}
            pairs = zip(rows["object_id"].to_pylist(), rows[deviation].to_numpy(), strict=True)
            found.deviations |= {one: float(value) for one, value in pairs if one in kept}
            for rater, likes in _likes(path, processes):
                found.likes[rater] = _better(found.likes[rater], path, *likes, _LIKES)
            advance(1)
    return found


def _likes(
    path: Path, processes: Mapping[str, Process]
) -> Iterator[tuple[str, tuple[pa.ChunkedArray, Values]]]:
    if not processes:
        return
    rows = read_columns(path, ["object_id", "features"])
    features, absent = as_matrix(rows["features"]), rows["features"].is_null().to_numpy()
    for rater, process in processes.items():
        values = process.predict(features)[0]
        values[absent] = np.nan
        yield rater, (rows["object_id"], values)


def _better(
    best: list[Hit], path: Path, names: pa.ChunkedArray, values: Values, count: int
) -> list[Hit]:
    """Add the best of a partition to the best so far; of equals, those that were there first."""
    order = np.argsort(-values, kind="stable")[:count]
    more = [
        Hit(float(values[row]), names[int(row)].as_py(), path, int(row))
        for row in order
        if np.isfinite(values[row])
    ]
    return sorted(best + more, key=lambda hit: -hit.likeness)[:count]


def _report(
    fitted: Interest, given: Ratings, found: _Found, folders: Folders, origin: Origin
) -> Report:
    names, means = given.mean()
    liked = int((means >= LIKED).sum())
    headline = (
        f"Of {found.galaxies:,} galaxies {found.liked:,} are expected to be rated {LIKED} or more; "
        f"of the {len(names):,} that people rated, {liked:,} were."
    )
    rated = dict(zip(names, means.tolist(), strict=True))
    best = _best_rows(found, rated, folders)
    sections = [
        _section_of_ratings(fitted, given),
        _section_of_the_best(best, found, folders),
        *_section_of_likes(found, folders),
        *_section_of_agreement(given),
    ]
    metrics = {
        "galaxies": found.galaxies,
        "without_features": found.without,
        "expected_to_be_liked": found.liked,
        "rated": len(names),
        "rated_and_liked": liked,
        "facts": fitted.facts,
        "origin": origin.to_dict(),
    }
    footer = "metrics.json holds the numbers of this page, the CSV files its tables."
    return Report(f"Interesting: {fitted.name}", headline, sections, metrics, footer)


def _section_of_ratings(fitted: Interest, given: Ratings) -> Section:
    facts, process = fitted.facts, fitted.process
    text = [
        f"The interest was learned from {facts['learned_from']:,} galaxies of "
        f"{facts['rated']:,} that were rated, from 0 to {HIGHEST}; of galaxies with several "
        "raters, from their mean."
    ]
    if facts["without_features"]:
        text.append(
            f"{facts['without_features']:,} rated galaxies are not of this survey or have no "
            "features: they were left out."
        )
    if facts["all_alike"]:
        text.append(
            "All ratings are alike, so that nothing tells galaxies apart: what is called the "
            "deviation is the distance to the nearest rated galaxy. Rate some more."
        )
    elif len(process.points) > 2:
        correlation = _correlation(*process.left_out())
        if correlation is not None:
            text.append(
                "What the other ratings let expect of a rated galaxy has a rank correlation of "
                f"{correlation:.2f} with its rating: 0 says that nothing was learned, 1 everything."
            )
    rows = [
        {
            "rater": rater or _NAMELESS,
            "rated": len(own),
            "liked": sum(value >= LIKED for value in own.values()),
            "mean": float(np.mean(list(own.values()))),
        }
        for rater, own in given.by_rater.items()
    ]
    columns = {"rater": "{rater}", "rated": "{rated:,}"}
    columns |= {f"rated {LIKED} or more": "{liked:,}", "mean rating": "{mean:.2f}"}
    table = Table("raters", "Who rated how many galaxies, and how.", rows, columns)
    caption = f"Galaxies rated {LIKED} or more, in the order in which each rater rated."
    return Section("Found by rating", text, [table], [Plot("found", caption, _draw_found(given))])


def _draw_found(given: Ratings) -> Figure:
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for rater, own in list(given.by_rater.items())[:_RATERS]:
        liked = np.cumsum([0, *(value >= LIKED for value in own.values())])
        axes.plot(np.arange(len(liked)), liked, drawstyle="steps-post", label=rater or _NAMELESS)
    axes.set(xlabel="galaxies rated", ylabel=f"of them rated {LIKED} or more")
    axes.legend(frameon=False, fontsize=8)
    plain_axes(axes)
    return figure


def _best_rows(found: _Found, rated: Mapping[str, float], folders: Folders) -> list[dict[str, Any]]:
    places: Sequence[Mapping[str, Any]] = [{} for _ in found.best]
    if found.best and (folders.tiles / found.best[0].file.name).is_file():
        places = folders.take(found.best, folders.tiles, ["ra", "dec"])
    return [
        {
            "rank": rank,
            "object_id": hit.object_id,
            "ra": place.get("ra"),
            "dec": place.get("dec"),
            "expected": hit.likeness,
            "deviation": found.deviations[hit.object_id],
            "rated": rated.get(hit.object_id),
        }
        for rank, (hit, place) in enumerate(zip(found.best, places, strict=True), 1)
    ]


def _section_of_the_best(
    best: Sequence[Mapping[str, Any]], found: _Found, folders: Folders
) -> Section:
    columns = {
        "object_id": "{object_id}",
        "ra": "{ra:.5f}",
        "dec": "{dec:+.5f}",
        "expected": "{expected:.2f}",
        "± deviation": "{deviation:.2f}",
        "rated": "{rated:.1f}",
    }
    table = Table("best", "The galaxies of which most is expected.", best, columns, shown="folded")
    new = sum(row["rated"] is None for row in best)
    text = [f"{new} of these {len(best)} have not been rated yet."] if best else []

    def lines(hit: Hit) -> list[str]:
        row = next(one for one in best if one["object_id"] == hit.object_id)
        known = "" if row["rated"] is None else f", rated {row['rated']:.2g}"
        return [f"{hit.likeness:.1f} ± {row['deviation']:.1f}{known}"]

    legend = "the rating that is expected ± its standard deviation, and what was given"
    plots = _gallery("gallery", legend, found.best, lines, folders, ACROSS)
    return Section(f"The best {len(best)}", text, [table], plots)


def _gallery(
    name: str,
    legend: str,
    hits: Sequence[Hit],
    lines: Callable[[Hit], list[str]],
    folders: Folders,
    across: int,
) -> list[Plot]:
    """Draw galaxies, if their images are there."""
    if not hits or not all((folders.images / hit.file.name).is_file() for hit in hits):
        return []
    rows = folders.take(hits, folders.images, ["image"])
    pictures = [row["image"] and row["image"]["bytes"] for row in rows]
    shown = [
        (hit.object_id, picture, lines(hit)) for hit, picture in zip(hits, pictures, strict=True)
    ]
    figure = draw_gallery(shown, legend, across)
    return [Plot(name, f"{legend[0].upper()}{legend[1:]}.", figure, vector=False)]


def _section_of_likes(found: _Found, folders: Folders) -> Iterator[Section]:
    """Show what each rater would like best, learned from that rater's ratings alone."""
    likes = {rater or _NAMELESS: hits for rater, hits in found.likes.items() if hits}
    rows = [
        {"rater": rater, "object_id": hit.object_id, "expected": hit.likeness}
        for rater, hits in likes.items()
        for hit in hits
    ]
    if not rows:
        return
    columns = {"rater": "{rater}", "object_id": "{object_id}", "expected": "{expected:.2f}"}
    caption = "What each rater would rate best, learned from that rater's ratings alone."
    table = Table("likes", caption, rows, columns, shown="folded")
    plots = [
        plot
        for number, (rater, hits) in enumerate(likes.items(), 1)
        for plot in _gallery(
            f"likes_{number}",
            f"what {rater} would rate best",
            hits,
            lambda hit: [f"{hit.likeness:.1f}"],
            folders,
            _LIKES,
        )
    ]
    yield Section("What each rater likes", [], [table], plots)


def _section_of_agreement(given: Ratings) -> Iterator[Section]:
    rows = agreement(given)
    if len(given.by_rater) < 2:
        return
    columns = {
        "raters": "{one} and {other}",
        "galaxies": "{galaxies:,}",
        "mean difference": "{difference:.2f}",
        "rank correlation": "{correlation:.2f}",
    }
    caption = "Galaxies that two people rated, how far their ratings are apart, and how alike."
    table = Table("agreement", caption, rows, columns)
    text = [] if rows else ["No galaxy was rated by two people."]
    yield Section("Agreement", text, [table])


def agreement(given: Ratings) -> list[dict[str, Any]]:
    """Compare each two raters by the galaxies that both rated.

    Gives one, other, galaxies, mean difference and rank correlation; the latter is None where one
    of them rated all alike.
    """
    rows = []
    for (one, own), (other, theirs) in combinations(given.by_rater.items(), 2):
        both = sorted(own.keys() & theirs.keys())
        if both:
            first, second = (np.array([by[name] for name in both]) for by in (own, theirs))
            rows.append(
                {
                    "one": one or _NAMELESS,
                    "other": other or _NAMELESS,
                    "galaxies": len(both),
                    "difference": float(np.abs(first - second).mean()),
                    "correlation": _correlation(first, second),
                }
            )
    return rows


def _correlation(one: Values, other: Values) -> float | None:
    """Spearman's rank correlation; None where all values of one are the same."""
    from scipy.stats import spearmanr

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)
