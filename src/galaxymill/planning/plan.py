"""The plan of a survey: jobs, work, time and disk of every stage, for people to read."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from galaxymill.catalog.partition import read_partitions
from galaxymill.images.settings import RecipeSettings
from galaxymill.planning.cutouts import Asked, count_cutouts
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


@dataclass(frozen=True)
class Step:
    """One row of a plan.

    Attributes
    ----------
    stage, jobs, work, time : str
        In words.
    disk : int
        Bytes that it leaves on disk.
    """

    stage: str
    jobs: str
    work: str
    time: str
    disk: int


@dataclass(frozen=True)
class Plan:
    """Estimated cost of a survey; ``str()`` gives a table."""

    survey: tuple[str, ...]
    steps: tuple[Step, ...]
    free: int

    def __str__(self) -> str:
        """Lines on the survey, a row a stage, and what disk they need in all."""
        rows = [("stage", "jobs", "work", "time", "disk, about")]
        rows += [(s.stage, s.jobs, s.work, s.time, bytes_in_words(s.disk)) for s in self.steps]
        needed = sum(step.disk for step in self.steps)
        told = f"disk: {bytes_in_words(needed)} in all, {bytes_in_words(self.free)} are free here"
        if needed > self.free:
            told += ": NOT ENOUGH, unless cutouts turn out much smaller than uncompressed"
        return "\n".join([*self.survey, "", *text_table(rows), "", told])


def plan(
    partitions: Path,
    service: str,
    settings: ServiceSettings,
    network: Network,
    images: RecipeSettings,
    predictions: Mapping[str, ModelUse],
    rates: Rates,
) -> Plan:
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
        The rate that the hours of fetching are counted at; those of all jobs together.
    images : RecipeSettings
        What is rendered.
    predictions : mapping of str to ModelUse
        Those that predict the survey.
    rates : Rates
        What the other hours are counted at.

    Returns
    -------
    Plan
        Galaxies outside the footprint need no request. Bytes of cutouts are those of
        uncompressed pixels, an upper bound; those of images and tables are estimates.
    """
    tiles = read_partitions(partitions)
    asked = count_cutouts(partitions, settings)
    largest = max((tile.n_rows for tile in tiles), default=0)
    counts = f"{len(tiles):,} partitions of at most {largest:,} galaxies, {asked.galaxies:,} in all"
    outside = asked.galaxies - asked.inside
    off = f"{outside:,} galaxies are off the footprint: they are rows, and not asked for"
    steps = [_fetching(len(tiles), asked, service, settings, network)]
    steps += [_rendering(len(tiles), asked, images, rates)]
    for name, use in predictions.items():
        steps += _predicting(len(tiles), asked.galaxies, name, use, rates)
    free = shutil.disk_usage(partitions.parent).free
    told = (f"{partitions}:", counts, *([off] if settings.footprint else []))
    return Plan(told, tuple(steps), free)


def _fetching(
    jobs: int, asked: Asked, service: str, settings: ServiceSettings, network: Network
) -> Step:
    work, time = f"no request leaves this machine ({service})", ""
    if settings.host:
        work = f"{asked.requests:,} requests to {settings.host}"
        seconds = asked.requests / network.requests_per_second
        time = f"{duration(seconds)} at {number(network.requests_per_second)} requests/s"
    return Step("fetch", f"{jobs:,}", work, time, asked.payload_bytes)


def _rendering(jobs: int, asked: Asked, images: RecipeSettings, rates: Rates) -> Step:
    pixels = images.size**2
    rate = rates.render * _RATED_PIXELS / pixels
    work = f"{asked.inside:,} images of {images.size} pixels, {images.format}"
    time = f"{duration(asked.inside / rate)} of one core at {number(rate)} images/s"
    disk = round(asked.inside * pixels * _IMAGE_BYTES_A_PIXEL[images.format])
    return Step("render", f"{jobs:,}", work, time, disk)


def _predicting(jobs: int, galaxies: int, name: str, use: ModelUse, rates: Rates) -> list[Step]:
    """Plan one prediction, and the releases that are made of it."""
    rate = rates.predict / use.passes
    on = "two cores" if rates.predict == Rates().predict else "one GPU"
    time = f"{duration(galaxies / rate)} of {on} at {number(rate)} galaxies/s"
    disk = galaxies * (use.summary_bytes + use.embedding_bytes)
    steps = [Step("predict", f"{jobs:,}", f"{galaxies:,} galaxies for {name}", time, disk)]
    if use.releases:
        rows = galaxies * use.releases
        time = f"{duration(rows / rates.merge)} at {number(rates.merge)} galaxies/s"
        disk = rows * (use.summary_bytes * _TABLES_OF_A_RELEASE + use.embedding_bytes)
        steps.append(Step("release", f"{use.releases:,}", f"{rows:,} rows of {name}", time, disk))
    return steps
