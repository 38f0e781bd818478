"""What is said, and refused, when many galaxies of a partition cannot be had."""

import io
import re
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from werkzeug import Response

from galaxymill.status.logs import read_counts
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.retry import retry_failed
from galaxymill.surveys.services.files import FilesSettings
from galaxymill.surveys.services.legacy import LegacySettings
from galaxymill.web.network import Network, ServiceError

pytestmark = pytest.mark.usefixtures("short_waits")

LIMITS = {"requests_per_second": 1000, "attempts": 2, "stop_after": 1000}
PATH = "/viewer/jpeg-cutout"


def jpeg(size=32, blank=False):
    pixels = np.random.default_rng(1).integers(0, 255, (size, size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels * (not blank)).save(file, "JPEG")
    return file.getvalue()


KINDS = {
    "ok": (jpeg(), 200),
    "blank": (jpeg(blank=True), 200),
    "small": (jpeg(31), 200),
    "busy": (b"", 503),
    "page": (b"<html>Moving</html>", 200),
    "half": (jpeg()[:500], 200),
    "refused": (b"bad position", 400),
}


class Sky:
    """A viewer that answers each galaxy by its kind, and remembers whom it was asked for."""

    def __init__(self, server, write_tile, kinds):
        self.kinds, self.asked = kinds, Counter()
        rows = [{"object_id": f"g{i}", "ra": 100 + i / 100} for i in range(len(kinds))]
        self.tile = write_tile(rows)
        self.settings = LegacySettings(server=server.url_for(""), size=32, format="jpeg")
        server.expect_request(PATH).respond_with_handler(self.answer)

    def answer(self, request):
        index = round((float(request.args["ra"]) - 100) * 100)
        self.asked[index] += 1
        return Response(*KINDS[self.kinds[index]])

    def fetch(self, out, **network):
        fetch(self.tile, out, "legacy", self.settings, Network(**{**LIMITS, **network}))

    def retry(self, out, *statuses):
        limits = Network(**LIMITS)
        retry_failed(self.tile, out, "legacy", self.settings, limits, statuses)


@pytest.fixture
def make_sky(server, write_tile):
    return lambda *kinds: Sky(server, write_tile, list(kinds))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "cutouts" / "g0-k0-p4.parquet"


def statuses(out):
    return Counter(pq.read_table(out)["status"].to_pylist())


def test_one_word_among_70_failures_is_no_product(make_sky, out):
    sky = make_sky("blank", *["busy"] * 68, "half", "page")
    with pytest.raises(ServiceError) as caught:
        sky.fetch(out)
    message = str(caught.value)
    assert (
        "(legacy layer=ls-dr9): 70 of 71 galaxies could not be had: 68 failed: HTTP 503" in message
    )
    assert re.search(r", e\.g\. g\d+, .*; 1 failed: ", message)
    assert "more than max_failed=0.5" in message
    assert "1 galaxies are kept" in message
    assert not out.exists()
    assert out.with_name(f".{out.name}.part").exists()


def test_a_rerun_asks_again_for_what_was_lost(make_sky, out):
    sky = make_sky("ok", "blank", *["small"] * 4, *["busy"] * 4)
    with pytest.raises(ServiceError, match="8 of 10 galaxies could not be had"):
        sky.fetch(out)
    sky.asked.clear()
    sky.kinds = ["ok"] * 10
    sky.fetch(out)
    assert sorted(sky.asked) == list(range(2, 10))
    assert statuses(out) == {"ok": 9, "no_coverage": 1}


@pytest.mark.parametrize(
    ("lost", "galaxies", "max_failed", "refused"),
    [
        (5, 10, 0.5, False),
        (6, 10, 0.5, True),
        (1, 10, 0, True),
        (1, 10, 0.1, False),
        (2, 10, 0.1, True),
        (10, 10, 0.99, True),
        (10, 10, 1, False),
        (6, 7, 0.5, False),
        (8, 8, 0.5, True),
        (1, 1, 1, False),
    ],
)
@pytest.mark.parametrize("kind", ["busy", "small"])
def test_the_share_that_may_be_lost(
    make_sky, out, caplog, kind, lost, galaxies, max_failed, refused
):
    sky = make_sky(*[kind] * lost, *["ok"] * (galaxies - lost))
    if refused:
        with pytest.raises(ServiceError, match=f"{lost} of {galaxies} galaxies could not be had"):
            sky.fetch(out, max_failed=max_failed)
        assert not out.exists()
        return
    sky.fetch(out, max_failed=max_failed)
    assert statuses(out)["ok"] == galaxies - lost
    (told,) = [record for record in caplog.records if "could not be had" in record.getMessage()]
    assert told.levelname == "WARNING"
    assert f"{lost} {'failed: HTTP 503' if kind == 'busy' else 'invalid: image'}" in told.message


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        (["blank"] * 50 + ["busy"] * 10, True),
        (["blank"] * 50 + ["busy"] * 5 + ["ok"] * 5, False),
        (["blank"] + ["small"] * 3, False),
        (["blank"] + ["small"] * 3 + ["busy"], True),
        (["small"] * 7, False),
        (["small"], False),
        (["busy"] * 7, True),
        (["busy"], True),
        (["blank"] * 9 + ["busy"], False),
        (["blank"] * 9 + ["busy"] * 6 + ["ok"], False),
    ],
)
def test_galaxies_off_the_coverage_hide_no_losses(make_sky, out, kinds, refused):
    sky = make_sky(*kinds)
    lost = len(kinds) - kinds.count("blank") - kinds.count("ok")
    told = pytest.raises(ServiceError, match=f"{lost} of {len(kinds)} galaxies could not be had")
    with told if refused else nullcontext():
        sky.fetch(out)
    assert out.exists() is not refused


def test_refusals_do_not_stop_whom_the_service_knows(make_sky, out):
    """Neither when a job goes on, nor when a finished product is asked for again."""
    sky = make_sky(*["ok"] * 20, *["refused"] * 12, *["busy"] * 8)
    with pytest.raises(ServiceError, match="in a row failed"):
        sky.fetch(out, stop_after=6, connections=1)
    sky.kinds = ["ok"] * 20 + ["refused"] * 12 + ["ok"] * 8
    sky.fetch(out)
    assert statuses(out) == {"ok": 28, "failed": 12}
    sky.kinds[31] = "ok"
    sky.retry(out, "failed")
    assert statuses(out) == {"ok": 29, "failed": 11}


def test_a_calm_day_has_no_warnings(make_sky, out, caplog):
    make_sky("ok", "ok", "blank").fetch(out)
    told = [record for record in caplog.records if record.name == "galaxymill"]
    assert [record.getMessage() for record in told if record.levelname != "INFO"] == []


@pytest.mark.parametrize("kind", ["busy", "page"])
def test_an_outage_stops_the_job_and_costs_nothing(make_sky, out, kind):
    """Of an error and of a page: afterwards the product is that of a calm day."""
    sky = make_sky(*["ok"] * 5, *[kind] * 35)
    with pytest.raises(ServiceError, match="6 requests in a row failed"):
        sky.fetch(out, stop_after=6, connections=1)
    assert sum(sky.asked.values()) <= 5 + 8
    sky.kinds = ["ok"] * 40
    sky.fetch(out)
    assert statuses(out) == {"ok": 40}


def test_everybody_off_the_coverage_is_told(make_sky, out, caplog):
    make_sky(*["blank"] * 15).fetch(out)
    assert statuses(out) == {"no_coverage": 15}
    assert "(legacy layer=ls-dr9): all 15 galaxies are no_coverage: 15 " in caplog.text
    assert "Has the survey really not been here?" in caplog.text


def bricks(folder, *rows):
    path = folder / "bricks.csv"
    path.write_text("ra1,ra2,dec1,dec2\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_a_footprint_that_holds_nobody_is_told(make_sky, out, tmp_path, caplog):
    sky = make_sky("ok", "ok")
    footprint = bricks(tmp_path, "10,11,-1,3")
    sky.settings = sky.settings.model_copy(update={"footprint": footprint})
    sky.fetch(out)
    assert "all 2 galaxies are no_coverage: 2 no_coverage: outside the footprint" in caplog.text
    assert "Has the survey" not in caplog.text
    assert not sky.asked


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["0,360,-90,90"], True),
        (["0,360,-90,0", "0,180,0,90", "180,360,0,90"], True),
        (["0,360,-90,80"], True),
        (["0,360,-90,60"], False),
        (["0,350,-90,90"], False),
    ],
)
def test_a_footprint_of_the_whole_sky_is_told(make_sky, out, tmp_path, caplog, rows, told):
    sky = make_sky("ok")
    footprint = bricks(tmp_path, *rows)
    sky.settings = sky.settings.model_copy(update={"footprint": footprint})
    sky.fetch(out)
    assert ("bricks.csv covers the whole sky, so it settles no galaxy" in caplog.text) is told


@pytest.mark.parametrize("suffix", ["json", "fits"])
def test_a_moc_of_the_whole_sky_is_told(make_sky, out, tmp_path, caplog, suffix):
    from mocpy import MOC

    path = tmp_path / f"moc.{suffix}"
    MOC.from_str("0/0-11").save(path, suffix)
    sky = make_sky("ok")
    sky.settings = sky.settings.model_copy(update={"footprint": path})
    sky.fetch(out)
    assert f"moc.{suffix} covers the whole sky" in caplog.text


def own_files(tmp_path, write_tile, names):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg())
    rows = [{"object_id": f"g{i}", "file_loc": name} for i, name in enumerate(names)]
    return write_tile(rows, ["file_loc"]), FilesSettings(folder=str(folder))


def test_missing_files_are_lost(tmp_path, write_tile, out):
    tile, settings = own_files(tmp_path, write_tile, [rf"pics\b{i}.jpg" for i in range(60)])
    with pytest.raises(ServiceError, match=r"60 of 60 galaxies .*: 60 .*no file .*b0\.jpg"):
        fetch(tile, out, "files", settings, Network())
    assert not out.exists()
    for i in range(60):
        (tmp_path / "pictures" / rf"pics\b{i}.jpg").write_bytes(jpeg())
    fetch(tile, out, "files", settings, Network())
    assert statuses(out) == {"ok": 60}


@pytest.mark.parametrize(
    ("names", "refused"),
    [(["a.jpg"] * 5 + ["b.jpg"] * 5, False), (["a.jpg"] * 4 + ["b.jpg"] * 6, True)],
)
def test_half_of_the_files_may_be_missing(tmp_path, write_tile, out, names, refused):
    tile, settings = own_files(tmp_path, write_tile, names)
    if refused:
        with pytest.raises(ServiceError, match="6 of 10"):
            fetch(tile, out, "files", settings, Network())
    fetch(tile, out, "files", settings, Network(max_failed=1))
    assert statuses(out)["no_coverage"] == names.count("b.jpg")


def test_galaxies_without_a_file_by_intention_are_not_lost(tmp_path, write_tile, out):
    tile, settings = own_files(tmp_path, write_tile, ["a.jpg", *[None] * 9])
    fetch(tile, out, "files", settings, Network())
    assert statuses(out) == {"ok": 1, "no_coverage": 9}


def test_a_finished_product_asks_for_nothing(make_sky, out, caplog):
    caplog.set_level("INFO", "galaxymill")
    sky = make_sky("ok", "ok", "busy")
    sky.fetch(out)
    before, told = out.stat(), caplog.messages[-2:]
    sky.asked.clear()
    caplog.clear()
    sky.fetch(out)
    assert not sky.asked
    assert out.stat().st_mtime_ns == before.st_mtime_ns
    assert "is here, as it is asked for: delete it to fetch it anew" in caplog.messages[0]
    # Whoever waited for another process finds the counts and the command in its own log too.
    assert caplog.messages[1:] == told
    assert told[1].startswith("to ask again for what failed: galaxymill fetch ")
    assert read_counts([f"08:00:00 {told[0]}"], f" fetch {out.stem}: ") == {"ok": 2, "failed": 1}


def test_a_product_of_other_settings_is_made_anew(make_sky, out):
    sky = make_sky("ok", "ok")
    sky.fetch(out)
    sky.settings = sky.settings.model_copy(update={"layer": "ls-dr10"})
    sky.asked.clear()
    sky.fetch(out)
    assert sum(sky.asked.values()) == 2


@pytest.fixture
def mixed(make_sky, out):
    """Galaxies of all statuses; now all would be had but the last, which fails."""
    sky = make_sky("ok", "blank", "small", "busy", "ok", "ok", "small")
    sky.fetch(out)
    sky.asked.clear()
    sky.kinds = ["ok"] * 6 + ["busy"]
    return sky


@pytest.mark.parametrize(
    ("chosen", "asked", "now"),
    [
        (["failed"], {3}, "ok no_coverage invalid ok ok ok invalid"),
        (["invalid"], {2, 6}, "ok no_coverage ok failed ok ok invalid"),
        (["no_coverage"], {1}, "ok ok invalid failed ok ok invalid"),
        (["failed", "invalid", "no_coverage"], {1, 2, 3, 6}, "ok ok ok ok ok ok invalid"),
    ],
)
def test_other_statuses_can_be_asked_for_again(mixed, out, chosen, asked, now):
    """A galaxy that fails now keeps the row, and the bytes, it had."""
    kept = pq.read_table(out).to_pylist()[6]
    mixed.retry(out, *chosen)
    assert set(mixed.asked) == asked
    rows = pq.read_table(out).to_pylist()
    assert [row["status"] for row in rows] == now.split()
    assert rows[6] == kept


def test_the_same_answer_again_leaves_the_product(mixed, out):
    mixed.kinds = ["ok", "blank", "small", "busy", "ok", "ok", "small"]
    before = out.stat()
    mixed.retry(out, "invalid", "no_coverage", "failed")
    assert set(mixed.asked) == {1, 2, 3, 6}
    assert (out.stat().st_mtime_ns, out.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        (["--retry-failed"], {3}),
        (["--retry", "invalid"], {2, 6}),
        (["--retry-failed", "--retry", "no_coverage"], {1, 3}),
        (["--retry", "no_coverage, failed", "--retry", "invalid"], {1, 2, 3, 6}),
    ],
)
def test_command_line(mixed, out, galaxymill, flags, asked):
    words = mixed.settings.to_flags().split() + mixed.settings.operational_flags().split()
    words += ["--network", "requests_per_second=1000", "--network", "attempts=1"]
    done = galaxymill("fetch", mixed.tile, out, "--service", "legacy", *words, *flags)
    assert done.returncode == 0, done.stderr
    assert set(mixed.asked) == asked


def test_an_unknown_status_is_refused(mixed, out, galaxymill):
    done = galaxymill("fetch", mixed.tile, out, "--service", "legacy", "--retry", "broken")
    assert done.returncode == 2
    assert (
        "--retry: no status broken; allowed: failed, invalid, no_coverage, partial" in done.stderr
    )
