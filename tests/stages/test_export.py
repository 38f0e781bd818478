"""Images out of their products, read back by the tools that people use."""

import csv
import io
import json
import tarfile

import datasets
import numpy as np
import pytest
import webdataset
from PIL import Image

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.export import export_files, export_tars, file_name
from galaxymill.images.render import render
from galaxymill.images.settings import LuptonSettings
from galaxymill.images.sheet import contact_sheet
from galaxymill.storage.parquet import read_batches

IDS = ["J000411.19+020924.0", "a:b*c", "NGC 1"]


@pytest.fixture
def images(write_cutouts, make_fits, tmp_path):
    """Two products: four galaxies with an image, one without."""
    made = []
    rows = [
        [(IDS[0], "ok", make_fits()), ("gone", "no_coverage", None), (IDS[1], "ok", make_fits())]
    ]
    rows.append([(IDS[2], "ok", make_fits())])
    for number, some in enumerate(rows):
        name = f"g0-k0-p{number}"
        made.append(tmp_path / "images" / f"{name}.parquet")
        settings = LuptonSettings(size=32, format="png")
        render(write_cutouts(*some, name=name), made[-1], "toy", "lupton", settings)
    return made


def pixels(payload):
    with Image.open(io.BytesIO(payload)) as picture:
        return np.asarray(picture)


def payloads(products):
    rows = [row for path in products for batch in read_batches(path) for row in batch.to_pylist()]
    return {row["object_id"]: row["image"]["bytes"] for row in rows if row["image"]}


def test_files_and_their_table(images, tmp_path):
    assert export_files(images, tmp_path / "out") == 3
    with (tmp_path / "out" / "catalog.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id_str"] for row in rows] == [IDS[0], IDS[1], IDS[2]]
    expected = payloads(images)
    for row in rows:
        found = (tmp_path / "out" / row["file_loc"]).read_bytes()
        assert found == expected[row["id_str"]]
        assert int(row["flags"]) & flags.BITS["no_coverage"] == 0


def test_a_folder_that_is_there_is_left_alone(images, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is there already; name a new folder"):
        export_files(images, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_tars_are_read_by_webdataset(images, tmp_path):
    assert export_tars(images, tmp_path) == 3
    expected = payloads(images)
    found = {}
    for path in images:
        url = str(tmp_path / f"{path.stem}.tar")
        for sample in webdataset.WebDataset(url, shardshuffle=False, empty_check=False):
            note = json.loads(sample["json"])
            found[note["object_id"]] = sample["png"]
    assert found == expected


def test_the_same_images_make_the_same_tar(images, tmp_path):
    for name in ("one", "two"):
        export_tars(images, tmp_path / name)
    one, two = (tmp_path / name / f"{images[0].stem}.tar" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as tar:
        assert tar.getnames() == [f"00000000{n}.{s}" for n in (0, 2) for s in ("png", "json")]


def test_hugging_face_datasets_shows_pictures(images, tmp_path):
    files = [str(path) for path in images]
    found = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(found.features["image"], datasets.Image)
    expected = payloads(images)
    for row in found:
        if row["object_id"] in expected:
            assert isinstance(row["image"], Image.Image)
            np.testing.assert_array_equal(row["image"], pixels(expected[row["object_id"]]))
        else:
            assert row["image"] is None


def test_other_products_and_equal_names_are_refused(images, write_cutouts, tmp_path):
    with pytest.raises(UserError, match="holds no images; give products of render"):
        export_files([write_cutouts(name="x")], tmp_path / "out")
    with pytest.raises(UserError, match="another product has the name"):
        export_tars([images[0], images[0]], tmp_path / "tars")
    assert not (tmp_path / "out" / "catalog.csv").exists()


@pytest.mark.parametrize(
    ("object_id", "name"),
    [("J0+1.5_a-b", "J0+1.5_a-b"), ("a/b", "a%2Fb"), ("a%2Fb", "a%252Fb"), ("é", "é")],
)
def test_file_names_are_safe_and_different(object_id, name):
    assert file_name(object_id) == name


def test_a_contact_sheet_shows_every_product(images, tmp_path):
    assert contact_sheet(images, tmp_path / "sheet.png", columns=2, most=2) == 3
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert picture.shape == (2 * (20 + 160 + 48) + 4, 2 * 164 + 4, 3)
    (noise, empty), (below, nothing) = (
        [picture[top : top + 150, left : left + 150].std() for left in (8, 172)]
        for top in (24, 20 + 208 + 24)
    )
    assert noise > 2
    assert below > 2
    assert empty == nothing == 0
    with pytest.raises(UserError, match=r"ends in \.png or \.jpg"):
        contact_sheet(images, tmp_path / "sheet.pdf", columns=2, most=2)


def test_command_line(galaxymill, images, tmp_path):
    done = galaxymill("images", "export", tmp_path / "images", "--out", tmp_path / "files")
    assert done.returncode == 0, done.stderr
    assert "3 images" in done.stderr
    done = galaxymill("images", "export", *images, "--out", tmp_path / "tars", "--as", "webdataset")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tars" / f"{images[0].stem}.tar").is_file()
    (tmp_path / "empty").mkdir()
    done = galaxymill("images", "export", tmp_path / "empty", "--out", tmp_path / "x")
    assert done.returncode == 2
    assert "holds no products" in done.stderr
    assert "Traceback" not in done.stderr
