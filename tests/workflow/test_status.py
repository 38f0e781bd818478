"""``galaxymill status``: how far a run has come, from what it has left on disk."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from galaxymill.errors import UserError
from galaxymill.status.locks import is_written
from galaxymill.status.logs import read_counts, read_failure, read_progress
from galaxymill.status.report import status
from galaxymill.storage.atomic import exclusive

CUTOUTS = "surveys/mini/cutouts/*.parquet"


def table(text, survey="mini"):
    """Cells of a survey's table by stage."""
    lines = text.split(f"survey {survey}: ")[1].split("\n\n")[0].splitlines()
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines if line.startswith("  ")]
    return {row[0]: row[1:] for row in cells if len(row) == 8}


def results(mill):
    return mill.folder / "results"


def test_a_finished_run(finished):
    done = finished.galaxymill("status")
    assert done.returncode == 0, done.stderr
    told = table(done.stdout)
    assert list(told) == ["stage", "fetch", "render", "predict said"]
    for stage in ("fetch", "render", "predict said"):
        assert told[stage][:5] == ["2", "0", "0", "0", "60 (100 %)"]
        assert float(told[stage][5]) > 0
        assert told[stage][6] == "done"
    for line in ("labels volunteers", "model mini", "evaluation mini", "release mini"):
        assert re.search(rf"^{line}: done \d{{4}}-\d\d-\d\d \d\d:\d\d$", done.stdout, re.M)


def test_galaxies_that_failed_are_told_with_their_reasons(finished):
    """The sky's faults are known: one position is off the footprint, one band is empty."""
    told = status(results(finished))
    assert "  cutouts: 58 ok, " in told
    assert re.search(r"^    1 no_coverage: .+: sim-\d+$", told, re.M)
    assert re.search(r"^    1 partial: band . is empty: sim-\d+$", told, re.M)
    assert re.search(r"^  images: .*1 no_coverage.*$", told, re.M)


def test_products_tell_what_logs_do_not(working_copy):
    """A product that is newer than its log, or has none, is read itself."""
    logs = working_copy.files("logs/fetch/mini/*.log")
    before = status(results(working_copy))
    logs[0].unlink()
    os.utime(logs[1], (1, 1))
    assert status(results(working_copy)) == before


def test_nothing_is_written(working_copy):
    before = {path: path.stat().st_mtime_ns for path in working_copy.files("**/*")}
    status(results(working_copy))
    assert {path: path.stat().st_mtime_ns for path in working_copy.files("**/*")} == before


def test_partitions_that_wait(working_copy):
    """New galaxies make a partition that nobody has begun."""
    path = results(working_copy) / "surveys/mini/catalog/partitions.csv"
    path.write_text(path.read_text() + "g1-k3-p9,3,9,20\n")
    told = table(status(results(working_copy)))
    assert told["fetch"][:5] == ["2", "0", "0", "1", "60 (75 %)"]
    rate = float(told["fetch"][5])
    left = int(told["fetch"][6].removesuffix(" s"))
    assert left == pytest.approx(20 / rate, abs=1 + 1 / rate)


def test_a_job_that_fails_says_why(working_copy, change):
    """A real one: nobody listens at the service's address."""
    survey = change(working_copy.config, "surveys.far", working_copy.config["surveys"]["mini"])
    cutouts = {"service": "legacy", "server": "http://127.0.0.1:9", "size": 64}
    config = change(survey, "surveys.far.cutouts", cutouts)
    config = change(config, "network.legacy", {"attempts": 1, "stop_after": 3})
    done = working_copy.snakemake("results/surveys/far/images.csv", config=config)
    assert done.returncode == 1
    told = status(results(working_copy))
    assert table(told, "far")["fetch"][:5] == ["0", "0", "2", "0", "0 (0 %)"]
    assert table(told, "far")["render"][:5] == ["0", "0", "0", "2", "0 (0 %)"]
    parts = [path.stem for path in working_copy.files("logs/fetch/far/*.log")]
    assert f"  2 failed in fetch: {', '.join(parts)}" in told
    assert "requests in a row failed, the last with ConnectError" in told


def test_a_job_that_was_killed_has_no_last_word(working_copy):
    product = working_copy.files(CUTOUTS)[0]
    product.unlink()
    (log,) = working_copy.files(f"logs/fetch/mini/{product.stem}.log")
    log.write_text(f"08:00:00 fetch {product.stem}: 12 of 30 galaxies, 1.2/s, 15 s left\n")
    (product.parent / f".{product.name}.lock").write_text("{}")
    os.utime(log, (1, 1))
    told = status(results(working_copy))
    assert table(told)["fetch"][:4] == ["1", "0", "1", "0"]
    assert f"  1 failed in fetch: {product.stem}\n    killed or cancelled" in told


def test_while_snakemake_runs(working_copy, change):
    """One partition is fetched again, slowly, and killed half-way."""
    product = working_copy.files(CUTOUTS)[0]
    product.unlink()
    (log,) = working_copy.files(f"logs/fetch/mini/{product.stem}.log")
    log.unlink()
    config = change(working_copy.config, "network.simulated.requests_per_second", 1)
    target = f"results/surveys/mini/cutouts/{product.name}"
    call = working_copy.command(target, "--quiet", config=config)
    run = subprocess.Popen(call, env=working_copy.environment, start_new_session=True)
    try:
        told = _wait_for(lambda: table(status(results(working_copy)))["fetch"], "1")
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert told[:5] == ["1", "1", "0", "0", "30 (50 %)"]


def _wait_for(look, running):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        cells = look()
        if cells[1] == running:
            return cells
        time.sleep(0.2)
    raise AssertionError(f"never running: {cells}")


def test_a_lock_is_looked_at_without_being_taken(tmp_path):
    """Another process holds it; a job of another host counts while its log grows."""
    product, lock = tmp_path / "a.parquet", tmp_path / ".a.parquet.lock"
    hold = (
        "import sys; from pathlib import Path; from galaxymill.storage.atomic import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    call = [sys.executable, "-c", hold, str(product)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        assert is_written(lock, 0.0)
        other.kill()
    assert lock.exists()
    assert not is_written(lock, time.time())
    with exclusive(product):
        pass
    assert not lock.exists()
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    assert is_written(lock, time.time())
    assert not is_written(lock, 0.0)


def test_lines_of_a_log():
    assert read_progress(["fetch p: 12 of 30 galaxies, 1.5/s, 12 s left", "more"]) == (18, 1.5)
    assert read_progress(["nothing"]) is None
    assert read_failure(["x", "galaxymill: no such file"]) == "no such file"
    assert read_failure(["Traceback (most recent call last):", "  a", "OSError: b"]) == "OSError: b"
    assert read_failure([]).startswith("killed")
    assert read_counts(["08:00:00 fetch p: 2 ok, 1 failed"], " fetch p: ") == {"ok": 2, "failed": 1}
    assert read_counts(["08:00:00 render p: flags: none"], " render p: flags: ") == {}
    assert read_counts(["08:00:00 fetch p: 12 of 30 galaxies"], " fetch p: ") is None


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_a_run_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{name}: .*; name"):
        status(tmp_path / name)


def test_a_survey_that_is_not_partitioned_yet(tmp_path):
    (tmp_path / "surveys/new/catalog").mkdir(parents=True)
    assert status(tmp_path) == "survey new: its catalogue is not cut into partitions yet"
