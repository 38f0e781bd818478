"""``plan``: what a survey costs, counted before anything is asked."""

import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.partition import partition
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.errors import UserError
from galaxymill.images.settings import RecipeSettings
from galaxymill.planning.plan import plan
from galaxymill.rates import ModelUse, Rates
from galaxymill.reporting.words import bytes_in_words, duration
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.pixel_scale import cutout_sizes, pixel_scale_and_size
from galaxymill.surveys.services.files import FilesSettings
from galaxymill.surveys.services.legacy import LegacySettings
from galaxymill.web.network import Network

LIMITS = Network(requests_per_second=0.5)
IMAGES = RecipeSettings(size=212)
RATES = Rates(render=10, predict=0.25, merge=20)


@pytest.fixture
def partitions(write_table, tmp_path):
    """Forty galaxies along the equator, at most fifteen a partition."""
    table = write_table(
        {
            "object_id": [f"g{i}" for i in range(40)],
            "ra": [9.0 * i for i in range(40)],
            "dec": [0.0] * 40,
            "petro_r50": [1.0] * 20 + [100.0] * 20,
            "petro_r90": [2.0] * 20 + [200.0] * 20,
        }
    )
    objects, out = tmp_path / "objects.parquet", tmp_path / "partitions.csv"
    columns = CatalogSettings(petro_r50="petro_r50", petro_r90="petro_r90")
    ingest(table, objects, columns)
    partition(objects, out, 15)
    return out


def planned(partitions, service, settings, models=None):
    return plan(partitions, service, settings, LIMITS, IMAGES, models or {}, RATES)


def rows(text):
    """Rows of the printed table by stage: cells between two or more spaces."""
    table = text.split("\n\n")[1].splitlines()
    cells = [re.split(r"\s{2,}", line) for line in table]
    return {cell[0]: cell[1:] for cell in cells}


def test_every_stage_has_a_row(partitions):
    models = {
        "spirals": ModelUse(
            passes=2, summary_bytes=100, embedding_bytes=10, releases=("dr1", "dr2")
        ),
        "rings": ModelUse(summary_bytes=10, embedding_bytes=0, releases=("dr2",)),
    }
    text = planned(partitions, "legacy", LegacySettings(size=100), models)
    told = rows(text)
    jobs = str(len(partitions.read_text().splitlines()) - 1)
    assert list(told) == ["stage", "fetch", "render", "predict", "release"]
    assert told["fetch"] == [
        jobs,
        "40 requests to www.legacysurvey.org",
        "80 s at 0.5 requests/s",
        "4.8 MB",
    ]
    # A quarter of the pixels that the rate is for.
    assert told["render"][:3] == [
        jobs,
        "40 images of 212 pixels, jpeg",
        "1 s of one core at 40 images/s",
    ]
    spirals, rings, first, second = text.splitlines()[-6:-2]
    assert re.split(r"\s{2,}", spirals) == [
        "predict",
        jobs,
        "40 galaxies for spirals",
        "5 min of one GPU at 0.125 galaxies/s",
        "4.4 kB",
    ]
    assert re.split(r"\s{2,}", rings)[2] == "40 galaxies for rings"
    # A release of several predictions is one job, whose rows hold them all.
    assert first.split("  ")[-1].strip() == "12.4 kB"
    assert re.split(r"\s{2,}", second) == [
        *("release", "1", "40 rows of dr2", "2 s at 20 galaxies/s", "13.6 kB")
    ]


def test_the_first_line_counts_galaxies_and_the_last_one_disk(partitions, monkeypatch):
    path, first, *_, last = planned(partitions, "legacy", LegacySettings(size=100)).splitlines()
    assert path == f"{partitions}:"
    assert re.fullmatch(r"\d partitions of at most \d+ galaxies, 40 in all", first)
    assert last.startswith("disk: ")
    assert "NOT ENOUGH" not in last
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    full = planned(partitions, "legacy", LegacySettings(size=100))
    assert "1 kB are free here: NOT ENOUGH" in full.splitlines()[-1]


def test_galaxies_off_the_footprint_cost_nothing(partitions, tmp_path):
    bricks = tmp_path / "bricks.csv"
    bricks.write_text("ra1,ra2,dec1,dec2\n0,90,-1,1\n350,352,-1,1\n")
    told = planned(partitions, "legacy", LegacySettings(size=100, footprint=bricks))
    assert told.splitlines()[2].startswith("29 galaxies are off the footprint")
    assert rows(told)["fetch"][1] == "11 requests to www.legacysurvey.org"


def test_sizes_by_radius_are_counted(partitions):
    settings = LegacySettings(size=424, pixel_scale="gz_decals", bands=("r",))
    # 424 pixels of 0.1 arcsec are 162 of 0.262; the large ones have 4 arcsec a pixel.
    expected = 4 * 20 * (162**2 + 424**2)
    told = rows(planned(partitions, "legacy", settings))
    assert told["fetch"][-1] == f"{expected / 1e6:.3g} MB"


def test_sizes_of_many_are_those_of_each():
    settings = LegacySettings(size=300, pixel_scale="gz_decals")
    small = np.r_[np.geomspace(0.01, 500, 400), np.nan, np.inf, -1.0, 0.0]
    large = 2.2 * small[::-1]
    each = [
        pixel_scale_and_size(*pair, settings)[1]
        for pair in zip(small.tolist(), large.tolist(), strict=True)
    ]
    assert cutout_sizes(small, large, settings).tolist() == each


def test_sizes_by_radius_need_radii(write_table, tmp_path):
    table = write_table({"object_id": ["a"], "ra": [360.0], "dec": [0.0]})
    ingest(table, tmp_path / "objects.parquet", CatalogSettings())
    partition(tmp_path / "objects.parquet", tmp_path / "partitions.csv", 15)
    settings = LegacySettings(pixel_scale="gz_decals")
    with pytest.raises(UserError, match="no petro_r50 and petro_r90, which pixel_scale gz_decals"):
        planned(tmp_path / "partitions.csv", "legacy", settings)
    (tile,) = (tmp_path / "tiles").glob("*.parquet")
    with pytest.raises(UserError, match="no petro_r50 and petro_r90"):
        fetch(tile, tmp_path / "cutouts.parquet", "legacy", settings, LIMITS)


def test_files_ask_nobody(partitions, tmp_path):
    told = rows(planned(partitions, "files", FilesSettings(folder=str(tmp_path))))
    assert told["fetch"][1] == "no request leaves this machine (files)"
    assert len(told["fetch"]) == 3


def test_without_a_rate_hours_are_those_of_cores(partitions):
    models = {"spirals": ModelUse()}
    told = plan(partitions, "legacy", LegacySettings(), LIMITS, IMAGES, models, Rates())
    assert " of two cores at 98.7 galaxies/s" in told


def test_command_line(galaxymill, partitions):
    words = ["plan", partitions, "--service", "legacy", "--image", "size=100"]
    words += ["--prediction", "spirals passes=8", "--rate", "predict=1000", "--network", "jobs=2"]
    done = galaxymill(*words)
    assert done.returncode == 0, done.stderr
    assert rows(done.stdout)["predict"][2] == "0 s of one GPU at 125 galaxies/s"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rate", "predict=0"], "predict: Input should be greater than or equal to 0.000001"),
        (["--rate", "train=1"], "train: unknown key; allowed: merge, predict, render"),
        (["--prediction", "spirals passes=none"], "--prediction spirals: passes: "),
        (["--prediction", "spirals 8"], "'8' is not of the form key=value"),
    ],
)
def test_command_line_refuses(galaxymill, partitions, words, told):
    done = galaxymill("plan", partitions, "--service", "legacy", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "3 s"), (600, "10 min"), (9000, "2.5 h"), (40 * 86400, "40.0 days")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_bytes():
    assert [bytes_in_words(n) for n in (0, 999, 4_800_000, 7.2e15)] == [
        "0 B",
        "999 B",
        "4.8 MB",
        "7,200.0 TB",
    ]
