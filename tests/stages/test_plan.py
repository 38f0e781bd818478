"""``plan``: what a survey costs, counted before anything is asked."""

import pytest

from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.partition import partition
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.errors import UserError
from galaxymill.surveys.base import Network
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.plan import plan
from galaxymill.surveys.services.files import FilesSettings
from galaxymill.surveys.services.legacy import LegacySettings

LIMITS = Network(requests_per_second=0.5)


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


def lines(text):
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}


def test_a_remote_service_costs_requests_and_time(partitions):
    told = lines(plan(partitions, "legacy", LegacySettings(size=100), LIMITS))
    assert told["galaxies"].startswith("40 ")
    assert told["requests"] == "40 to www.legacysurvey.org"
    assert told["time"] == "80 s at 0.5 requests/s"
    assert told["bytes"] == "at most 4.8 MB"


def test_galaxies_off_the_footprint_cost_nothing(partitions, tmp_path):
    bricks = tmp_path / "bricks.csv"
    bricks.write_text("ra1,ra2,dec1,dec2\n0,90,-1,1\n350,352,-1,1\n")
    settings = LegacySettings(size=100, footprint=bricks)
    told = lines(plan(partitions, "legacy", settings, LIMITS))
    assert told["outside"].startswith("29 galaxies")
    assert told["requests"] == "11 to www.legacysurvey.org"


def test_sizes_by_radius_are_counted(partitions):
    settings = LegacySettings(size=424, pixel_scale="gz_decals", bands=("r",))
    # 424 pixels of 0.1 arcsec are 162 of 0.262; the large ones have 4 arcsec a pixel.
    expected = 4 * 20 * (162**2 + 424**2)
    told = lines(plan(partitions, "legacy", settings, LIMITS))
    assert told["bytes"] == f"at most {expected / 1e6:.3g} MB"


def test_sizes_by_radius_need_radii(write_table, tmp_path):
    table = write_table({"object_id": ["a"], "ra": [360.0], "dec": [0.0]})
    ingest(table, tmp_path / "objects.parquet", CatalogSettings())
    partition(tmp_path / "objects.parquet", tmp_path / "partitions.csv", 15)
    settings = LegacySettings(pixel_scale="gz_decals")
    with pytest.raises(UserError, match="no petro_r50 and petro_r90, which pixel_scale gz_decals"):
        plan(tmp_path / "partitions.csv", "legacy", settings, LIMITS)
    (tile,) = (tmp_path / "tiles").glob("*.parquet")
    with pytest.raises(UserError, match="no petro_r50 and petro_r90"):
        fetch(tile, tmp_path / "cutouts.parquet", "legacy", settings, LIMITS)


def test_files_ask_nobody(partitions, tmp_path):
    told = lines(plan(partitions, "files", FilesSettings(folder=str(tmp_path)), LIMITS))
    assert told["requests"] == "none leaves this machine (files)"
    assert "time" not in told
