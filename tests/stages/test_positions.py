"""A folder of pictures without positions, from the table to the images."""

import io
import json
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.partition import partition, read_partitions
from galaxymill.catalog.positions import has_positions, hash_places
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.errors import UserError
from galaxymill.images.render import render
from galaxymill.images.settings import RecipeSettings
from galaxymill.labels.images import collect_images
from galaxymill.planning.cutouts import count_cutouts
from galaxymill.storage.origin import read_record
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.retry import retry_failed
from galaxymill.surveys.services.files import FilesSettings
from galaxymill.surveys.services.legacy import LegacySettings
from galaxymill.web.network import Network

SETTINGS = CatalogSettings(positions=False, file_loc="file_loc", keep=("mag",))


class Pictures:
    """A folder of pictures, and a survey of them."""

    def __init__(self, root):
        self.folder, self.source = root / "pictures", root / "galaxies.parquet"
        self.objects = root / "catalog" / "objects.parquet"
        self.partitions = root / "catalog" / "partitions.csv"
        self.folder.mkdir()

    def cut(self, count, most=40, settings=SETTINGS):
        ids = [f"p{number:03d}" for number in range(count)]
        table = {"object_id": ids, "file_loc": [f"{key}.png" for key in ids]}
        pq.write_table(pa.table({**table, "mag": np.arange(count) / 7}), self.source)
        ingest(self.source, self.objects, settings)
        partition(self.objects, self.partitions, most)
        return read_partitions(self.partitions)

    def tile(self, part):
        return self.partitions.parent / "tiles" / f"{part.part}.parquet"

    def draw(self, ids):
        for key in ids:
            file = io.BytesIO()
            noise = np.random.default_rng(int(key[1:])).integers(0, 200, (24, 24, 3), np.uint8)
            Image.fromarray(noise).save(file, "PNG")
            (self.folder / f"{key}.png").write_bytes(file.getvalue())


@pytest.fixture
def pictures(tmp_path):
    return Pictures(tmp_path)


def test_objects_have_no_positions_and_are_in_the_order_of_their_places(pictures):
    pictures.cut(100)
    table = pq.read_table(pictures.objects)
    assert table["ra"].null_count == table["dec"].null_count == 100
    places = table["_healpix_29"].to_numpy()
    assert places.tolist() == hash_places(table["object_id"].to_pylist()).tolist()
    assert (np.diff(places) > 0).all()
    assert table["mag"].null_count == 0
    assert not has_positions(pictures.objects)


def test_partitions_add_up_and_stay_when_more_pictures_come(pictures):
    first = pictures.cut(100)
    assert len(first) > 1
    before = {part.part: pq.read_table(pictures.tile(part))["object_id"] for part in first}
    stamps = {part.part: pictures.tile(part).stat().st_mtime_ns for part in first}
    parts = pictures.cut(130)
    after = {part.part: pq.read_table(pictures.tile(part))["object_id"] for part in parts}
    assert {part: after[part] for part in before} == before
    assert {part.part: pictures.tile(part).stat().st_mtime_ns for part in first} == stamps
    assert {part.generation for part in parts} == {0, 1}
    members = list(chain(*(ids.to_pylist() for ids in after.values())))
    assert sorted(members) == [f"p{number:03d}" for number in range(130)]
    assert not any(has_positions(pictures.tile(part)) for part in parts)


def test_few_pictures_are_one_partition(pictures):
    assert [part.part for part in pictures.cut(40)] == ["g0-k0-p0"]


def test_pictures_are_fetched_and_rendered_without_positions(pictures, tmp_path):
    (part,) = pictures.cut(6)
    tile = pictures.tile(part)
    ids = pq.read_table(tile)["object_id"].to_pylist()
    pictures.draw(ids[:4])
    settings = FilesSettings(folder=str(pictures.folder))
    out, images = tmp_path / "cutouts" / tile.name, tmp_path / "images" / tile.name
    fetch(tile, out, "files", settings, Network())
    cutouts = pq.read_table(out)
    assert cutouts["object_id"].to_pylist() == ids
    assert cutouts["ra"].null_count == cutouts["dec"].null_count == 6
    assert cutouts["status"].to_pylist()[:4] == ["ok"] * 4
    retry_failed(tile, out, "files", settings, Network())
    render(out, images, "mine", "passthrough", RecipeSettings(size=16, origin="a-sky"))
    drawn = pq.read_table(images)
    assert drawn["image"].null_count == 2
    assert drawn["centre_offset"].null_count == 6
    assert count_cutouts(pictures.partitions, settings).galaxies == 6


def test_what_asks_by_position_is_refused_by_hand_too(pictures, tmp_path):
    (part,) = pictures.cut(3)
    told = "have no positions, but the cutout service asks for galaxies by their positions"
    with pytest.raises(UserError, match=told):
        fetch(pictures.tile(part), tmp_path / "c.parquet", "legacy", LegacySettings(), Network())
    bricks = tmp_path / "bricks.csv"
    bricks.write_text("ra1,ra2,dec1,dec2\n0,10,0,10\n")
    footprint = FilesSettings(footprint=bricks)
    told = "but a footprint takes galaxies by their positions"
    with pytest.raises(UserError, match=told):
        fetch(pictures.tile(part), tmp_path / "c.parquet", "files", footprint, Network())
    with pytest.raises(UserError, match=told):
        count_cutouts(pictures.partitions, footprint)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits"])
def test_absent_columns_are_refused_with_the_way_out(write_table, tmp_path, suffix):
    source = write_table({"object_id": ["a"], "file_loc": ["a.png"]}, suffix)
    with pytest.raises(UserError, match=r"no column ra, dec; .*say positions: false"):
        ingest(source, tmp_path / "objects.parquet", CatalogSettings(file_loc="file_loc"))


def test_command_line(galaxymill, write_table, tmp_path):
    source, out = write_table({"object_id": ["a", "b"]}), tmp_path / "objects.parquet"
    done = galaxymill("ingest", source, out, "--set", "positions=false")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(out)["ra"].null_count == 2
    done = galaxymill("ingest", source, tmp_path / "other.parquet")
    assert done.returncode == 2
    assert "say positions: false" in done.stderr


def test_a_folder_and_a_survey_of_one_origin_are_one_domain(pictures, write_table, tmp_path):
    (part,) = pictures.cut(3)
    tile = pictures.tile(part)
    ids = pq.read_table(tile)["object_id"].to_pylist()
    pictures.draw(ids)
    labels = write_table({"object_id": ids, "file_loc": [f"{key}.png" for key in ids]})
    learned, rendered = tmp_path / "labels" / "images.parquet", tmp_path / "images.parquet"
    settings = RecipeSettings(size=16, origin="a-sky")
    collect_images([labels], pictures.folder, learned, "votes", "object_id", settings)
    cutouts = tmp_path / "cutouts.parquet"
    fetch(tile, cutouts, "files", FilesSettings(folder=str(pictures.folder)), Network())
    render(cutouts, rendered, "mine", "passthrough", settings)
    ours, theirs = (read_record(path).origin["domain"] for path in (rendered, learned))
    assert ours == theirs
    assert ours["survey"] == "a-sky"
    assert "origin" not in json.dumps(ours)
    # The same pixels, too.
    images = [dict(zip(*_columns(path), strict=True)) for path in (learned, rendered)]
    assert images[0] == images[1]
    render(cutouts, rendered, "mine", "passthrough", RecipeSettings(size=16))
    assert read_record(rendered).origin["domain"]["survey"] == "mine"


def _columns(path):
    table = pq.read_table(path)
    return table["object_id"].to_pylist(), table["image"].to_pylist()
