"""The service ``files``: images and FITS cutouts that lie on disk."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from galaxymill.surveys.base import Target
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.services import files
from galaxymill.surveys.services.files import FilesService, FilesSettings
from galaxymill.web.network import Network


def picture(kind="JPEG", value=None):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(file, kind)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path, make_fits):
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(picture())
    (folder / "deep" / "b.png").write_bytes(picture("PNG"))
    (folder / "c.fits").write_bytes(make_fits())
    (folder / "cut.fits").write_bytes(make_fits()[:9000])
    (folder / "text.jpg").write_bytes(b"no image")
    (folder / "blank.png").write_bytes(picture("PNG", 7))
    (folder / "empty.jpg").touch()
    return folder


def read(folder, file_loc):
    service = FilesService(FilesSettings(folder=str(folder)))
    (cutout,) = service.fetch([Target("g", 1.0, 2.0, 0.262, 256, file_loc)])
    service.close()
    return cutout


@pytest.mark.parametrize("name", ["a.jpg", "deep/b.png", "c.fits"])
def test_an_image_is_taken_as_it_is(folder, name):
    cutout = read(folder, name)
    assert (cutout.status, cutout.reason, cutout.http_status) == ("ok", "", None)
    assert cutout.payload == (folder / name).read_bytes()
    assert cutout.url == f"file:{name}"


@pytest.mark.parametrize("name", ["", "gone.jpg", "deep", "a.jpg/b"])
def test_no_file_is_no_coverage(folder, name):
    cutout = read(folder, name)
    assert (cutout.status, cutout.payload) == ("no_coverage", None)
    assert "no file" in cutout.reason


@pytest.mark.parametrize("name", ["cut.fits", "text.jpg", "blank.png", "empty.jpg"])
def test_no_image_is_invalid(folder, name):
    cutout = read(folder, name)
    assert cutout.status == "invalid"
    assert cutout.reason


def test_too_large_a_file_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_PAYLOAD_BYTES", 100)
    cutout = read(folder, "a.jpg")
    assert (cutout.status, cutout.payload) == ("invalid", None)


@pytest.mark.parametrize("name", ["a\x00b.jpg", "x" * 5000, "~/a.jpg"])
def test_an_odd_path_is_a_status_and_no_exception(folder, name):
    assert read(folder, name).status == "no_coverage"


def test_an_unreadable_file_is_a_status_and_no_exception(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(folder), "read_bytes", refuse)
    assert read(folder, "a.jpg").status == "failed"


def test_fetch_answers_every_row(folder, write_tile, tmp_path):
    names = ["a.jpg", None, "gone.jpg", "c.fits", "text.jpg"]
    rows = [{"object_id": f"g{i}", "file_loc": name} for i, name in enumerate(names)]
    out = tmp_path / "cutouts.parquet"
    settings = FilesSettings(folder=str(folder))
    fetch(write_tile(rows, ["file_loc"]), out, "files", settings, Network())
    table = pq.read_table(out)
    assert table["object_id"].to_pylist() == ["g0", "g1", "g2", "g3", "g4"]
    expected = ["ok", "no_coverage", "no_coverage", "ok", "invalid"]
    assert table["status"].to_pylist() == expected


def test_the_folder_is_no_part_of_the_product(folder, write_tile, tmp_path):
    tile = write_tile([{"object_id": "g0", "file_loc": "a.jpg"}], ["file_loc"])
    out = tmp_path / "cutouts.parquet"
    fetch(tile, out, "files", FilesSettings(folder=str(folder)), Network())
    footer = b"".join(pq.read_metadata(out).metadata.values())
    assert str(folder).encode() not in footer


def test_command_line(galaxymill, folder, write_tile, tmp_path):
    tile = write_tile([{"object_id": "g0", "file_loc": "a.jpg"}], ["file_loc"])
    out = tmp_path / "cutouts.parquet"
    done = galaxymill("fetch", tile, out, "--service", "files", "--set", f"folder={folder}")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(out)["status"].to_pylist() == ["ok"]
    done = galaxymill("fetch", tile, out, "--service", "fils")
    assert done.returncode == 2
    assert "--service: unknown service 'fils'; allowed: euclid, files," in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({}, (None, None)), ({"size": 64, "pixel_scale": 0.262}, (64, 0.262))],
)
def test_a_size_that_nobody_asked_for_is_null(folder, write_tile, tmp_path, asked, expected):
    tile = write_tile([{"object_id": "g0", "file_loc": "c.fits"}], ["file_loc"])
    out = tmp_path / "cutouts.parquet"
    fetch(tile, out, "files", FilesSettings(folder=str(folder), **asked), Network())
    (row,) = pq.read_table(out).to_pylist()
    assert (row["size"], row["pixel_scale"]) == expected


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("deep\\b.png", "use / between folders"),
        (
            "C:\\deep\\b.png",
            "give paths below the folder, without a drive, and use / between folders",
        ),
        ("https://x.org/b.png", "it is a web address: download the files, and give their paths"),
    ],
)
def test_paths_that_are_none_here_are_explained(folder, path, hint):
    assert read(folder, path).reason == f"no file '{path}'; {hint}"


def test_a_picture_of_16_bits_that_fills_8_is_no_blank_one(folder):
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(folder / "faint.png")
    assert read(folder, "faint.png").status == "ok"
