"""``fetch --retry-failed`` asks for failed galaxies only, and replaces only their products."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from werkzeug import Response

from galaxymill.errors import UserError
from galaxymill.storage.origin import read_record
from galaxymill.surveys.fetch import fetch
from galaxymill.surveys.retry import retry_failed
from galaxymill.surveys.services.legacy import LegacySettings
from galaxymill.web.network import Network, ServiceError

pytestmark = pytest.mark.usefixtures("short_waits")

LIMITS = Network(requests_per_second=1000, attempts=1, stop_after=3)


@pytest.fixture
def sky(httpserver, make_fits):
    """A viewer that refuses some declinations; remembers whom it was asked for."""

    class Sky:
        refused: tuple = ()
        asked: list = []  # noqa: RUF012
        settings = LegacySettings(server=httpserver.url_for(""), size=32)

        def answer(self, request):
            ra, dec = (float(request.args[name]) for name in ("ra", "dec"))
            self.asked.append(dec)
            if dec in self.refused:
                return Response("busy", 503)
            return Response(make_fits(ra=ra, dec=dec), 200)

    sky = Sky()
    sky.asked = []
    httpserver.expect_request("/viewer/fits-cutout").respond_with_handler(
        lambda request: sky.answer(request)
    )
    return sky


@pytest.fixture
def fetched(sky, write_tile, tmp_path):
    """Cutouts of g0 to g5 at declination 0 to 5, of which g1 and g4 have failed."""
    tile = write_tile([{"object_id": f"g{i}", "dec": float(i)} for i in range(6)])
    out = tmp_path / "cutouts" / tile.name
    sky.refused = (1.0, 4.0)
    fetch(tile, out, "legacy", sky.settings, LIMITS)
    assert statuses(out) == ["ok", "failed", "ok", "ok", "failed", "ok"]
    sky.asked.clear()
    return tile, out


def statuses(out):
    return pq.read_table(out)["status"].to_pylist()


def hidden(out):
    return [path.name for path in out.parent.glob(".*")]


def test_only_failed_galaxies_are_asked_for(sky, fetched):
    tile, out = fetched
    before = pq.read_table(out).to_pylist()
    origin, digest = read_record(out).origin, read_record(out).digest
    sky.refused = (4.0,)
    retry_failed(tile, out, "legacy", sky.settings, LIMITS)
    assert sorted(sky.asked) == [1.0, 4.0]
    after = pq.read_table(out).to_pylist()
    assert statuses(out) == ["ok", "ok", "ok", "ok", "failed", "ok"]
    assert [row for row in after if row["object_id"] not in ("g1", "g4")] == [
        row for row in before if row["object_id"] not in ("g1", "g4")
    ]
    assert read_record(out).origin == origin
    assert read_record(out).digest != digest
    assert hidden(out) == []


def test_the_result_is_that_of_a_calm_day(sky, fetched, tmp_path):
    tile, out = fetched
    sky.refused = ()
    retry_failed(tile, out, "legacy", sky.settings, LIMITS)
    calm = tmp_path / "calm.parquet"
    fetch(tile, calm, "legacy", sky.settings, LIMITS)
    assert read_record(out) == read_record(calm)


@pytest.mark.parametrize("now", ["whole", "empty", "elsewhere", "nothing"])
def test_a_partial_cutout_is_not_given_for_less(sky, write_tile, tmp_path, make_fits, now):
    data = np.ones((3, 32, 32), np.float32) * np.arange(32, dtype=np.float32)
    holes = np.stack([data[0], data[1], data[2] * 0])
    answers = {
        "whole": Response(make_fits(data)),
        "empty": Response(make_fits(holes)),
        "elsewhere": Response(make_fits(data, ra=99.0)),
        "nothing": Response(b"", 204),
    }
    tile, out = write_tile([{"object_id": "g"}]), tmp_path / "cutouts.parquet"
    sky.answer = lambda request: answers["empty"]
    fetch(tile, out, "legacy", sky.settings, LIMITS)
    kept, twice = pq.read_table(out), LIMITS.model_copy(update={"attempts": 2})
    assert kept["reason"].to_pylist() == ["band z is empty"]
    sky.answer = lambda request: answers[now]
    retry_failed(tile, out, "legacy", sky.settings, twice, ["partial"])
    assert pq.read_table(out) == kept if now != "whole" else statuses(out) == ["ok"]


@pytest.mark.parametrize("refused", [(1.0, 4.0), ()])
def test_a_product_without_news_is_left_untouched(sky, fetched, refused):
    tile, out = fetched
    sky.refused = refused
    retry_failed(tile, out, "legacy", sky.settings, LIMITS)
    before = out.stat()
    sky.asked.clear()
    retry_failed(tile, out, "legacy", sky.settings, LIMITS)
    assert len(sky.asked) == len(refused)
    assert (out.stat().st_mtime_ns, out.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_folders_stand_for_all_their_products(sky, fetched):
    tile, out = fetched
    sky.refused = ()
    second = tile.with_name("g0-k0-p5.parquet")
    tile.rename(second)
    out.rename(out.with_name(second.name))
    retry_failed(second.parent, out.parent, "legacy", sky.settings, LIMITS)
    assert statuses(out.with_name(second.name)) == ["ok"] * 6
    with pytest.raises(UserError, match="give the folder of the tiles"):
        retry_failed(second, out.parent, "legacy", sky.settings, LIMITS)


def test_what_a_stopped_retry_has_kept_counts(sky, fetched, write_tile, tmp_path):
    tile, out = fetched
    sky.refused = (4.0,)
    with pytest.raises(ServiceError, match="1 requests in a row"):
        retry_failed(tile, out, "legacy", sky.settings, LIMITS.model_copy(update={"stop_after": 1}))
    assert statuses(out).count("failed") == 2
    sky.asked.clear()
    sky.refused = ()
    retry_failed(tile, out, "legacy", sky.settings, LIMITS)
    assert set(sky.asked) <= {1.0, 4.0}
    assert statuses(out) == ["ok"] * 6


def test_other_settings_are_refused(sky, fetched):
    tile, out = fetched
    other = sky.settings.model_copy(update={"layer": "ls-dr10"})
    with pytest.raises(UserError, match="other settings"):
        retry_failed(tile, out, "legacy", other, LIMITS)
    assert sky.asked == []


def test_it_waits_for_the_end_of_a_workflow(sky, fetched, tmp_path):
    tile, out = fetched
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").touch()
    with pytest.raises(UserError, match="a workflow is running in"):
        retry_failed(tile, out, "legacy", sky.settings, LIMITS)
    (locks / "0.output.lock").unlink()
    retry_failed(tile, out, "legacy", sky.settings, LIMITS)


def test_the_log_spells_the_command(sky, fetched, tmp_path, caplog, galaxymill):
    tile, out = fetched
    with caplog.at_level("INFO", "galaxymill"):
        fetch(tile, out, "legacy", sky.settings, LIMITS)
    command = caplog.messages[-1].removeprefix("to ask again for what failed: ")
    sky.refused = ()
    done = galaxymill(*command.split()[1:])
    assert done.returncode == 0, done.stderr
    assert statuses(out) == ["ok"] * 6
