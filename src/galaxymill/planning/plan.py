"""The plan of a survey: jobs, work, time and disk of every stage, as text."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from galaxymill.catalog.partition import read_partitions
from galaxymill.images.settings import RecipeSettings
from galaxymill.planning.cutouts import Fetching, count_cutouts
from galaxymill.rates import ModelUse, Rates
from galaxymill.reporting.tables import text_table
from galaxymill.reporting.words import bytes_in_words, duration, number
from galaxymill.surveys.base import ServiceSettings
from galaxymill.web.network import Network

_IMAGE_BYTES_A_PIXEL = {"jpeg": 0.5, "webp": 1.5, "png": 2.0}
"""With room: of galaxies on dark sky in a JPEG of quality 90 it is 0.1 to 0.3."""
_RATED_PIXELS = 424**2
_TABLES_OF_A_RELEASE = 3
"""A release holds what is predicted about so many times: Parquet, HATS, FITS."""


class Step(NamedTuple):
    """One row of a plan; ``disk`` is in bytes, the others are texts."""

    stage: str
    jobs: str
    work: str
    time: str
    disk: int


def plan(
    partitions: Path,
    service: str,
    settings: ServiceSettings,
    network: Network,
    images: RecipeSettings,
    predictions: Mapping[str, ModelUse],
    rates: Rates,
) -> str:
    """Count a survey's partitions, jobs, requests, images, hours and bytes.

    Parameters
    ----------
    partitions : Path
        ``partitions.csv``.
    service : str
        A name of `galaxymill.surveys.registry.SERVICES`.
    settings : ServiceSettings
        Of that service.
    network : Network
        With the rate of requests of all jobs together.
    images : RecipeSettings
    predictions : mapping of str to ModelUse
        By name.
    rates : Rates
        Of the other stages.

    Returns
    -------
    str
        Lines on the survey, a row a stage, and the disk that they need in all. Galaxies outside
        the footprint need no request. Bytes of cutouts are those of uncompressed pixels, an upper
        bound; those of images and tables are estimates.
    """
    tiles = read_partitions(partitions)
    total = count_cutouts(partitions, settings)
    largest = max((tile.n_rows for tile in tiles), default=0)
    lines = [
        f"{partitions}:",
        f"{len(tiles):,} partitions of at most {largest:,} galaxies, {total.galaxies:,} in all",
    ]
    if settings.footprint:
        off = total.galaxies - total.inside
        lines.append(f"{off:,} galaxies are off the footprint: they are rows, and not asked for")
    steps = [_fetching(len(tiles), total, service, settings, network)]
    steps += [_rendering(len(tiles), total.inside, images, rates)]
    for name, use in predictions.items():
        steps.append(_predicting(len(tiles), total.galaxies, name, use, rates))
    for name in dict.fromkeys(name for use in predictions.values() for name in use.releases):
        held = [use for use in predictions.values() if name in use.releases]
        steps.append(_releasing(total.galaxies, name, held, rates))
    rows = [("stage", "jobs", "work", "time", "disk, about")]
    rows += [(*step[:-1], bytes_in_words(step.disk)) for step in steps]
    needed, free = sum(step.disk for step in steps), shutil.disk_usage(partitions.parent).free
    disk = f"disk: {bytes_in_words(needed)} in all, {bytes_in_words(free)} are free here"
    if needed > free:
        disk += ": NOT ENOUGH, unless cutouts turn out much smaller than uncompressed"
    return "\n".join([*lines, "", *text_table(rows), "", disk])


def _fetching(
    jobs: int, total: Fetching, service: str, settings: ServiceSettings, network: Network
) -> Step:
    work, time = f"no request leaves this machine ({service})", ""
    if settings.host:
        work = f"{total.requests:,} requests to {settings.host}"
        seconds = total.requests / network.requests_per_second
        time = f"{duration(seconds)} at {number(network.requests_per_second)} requests/s"
    return Step("fetch", f"{jobs:,}", work, time, total.payload_bytes)


def _rendering(jobs: int, count: int, images: RecipeSettings, rates: Rates) -> Step:
    pixels = images.size**2
    rate = rates.render * _RATED_PIXELS / pixels
    work = f"{count:,} images of {images.size} pixels, {images.format}"
    time = f"{duration(count / rate)} of one core at {number(rate)} images/s"
    disk = round(count * pixels * _IMAGE_BYTES_A_PIXEL[images.format])
    return Step("render", f"{jobs:,}", work, time, disk)


def _predicting(jobs: int, galaxies: int, name: str, use: ModelUse, rates: Rates) -> Step:
    rate = rates.predict / use.passes
    on = "two cores" if rates.predict == Rates().predict else "one GPU"
    time = f"{duration(galaxies / rate)} of {on} at {number(rate)} galaxies/s"
    disk = galaxies * (use.summary_bytes + use.embedding_bytes)
    return Step("predict", f"{jobs:,}", f"{galaxies:,} galaxies for {name}", time, disk)


def _releasing(galaxies: int, name: str, held: Sequence[ModelUse], rates: Rates) -> Step:
    time = f"{duration(galaxies / rates.merge)} at {number(rates.merge)} galaxies/s"
    row = sum(use.summary_bytes * _TABLES_OF_A_RELEASE + use.embedding_bytes for use in held)
    return Step("release", "1", f"{galaxies:,} rows of {name}", time, galaxies * row)
