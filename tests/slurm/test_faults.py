"""What goes wrong on a cluster, and is mended by itself or said clearly."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from submission import (
    HERE,
    Place,
    ended,
    environment,
    in_queue,
    jobs_of,
    run_id,
    slurm,
    wait_for,
)

PART = "results/predictions/demo/g0-k2-p106.parquet"


def test_jobs_over_memory_or_time_are_tried_again_with_more(profile, tmp_path):
    place = Place(HERE / "Snakefile", profile, tmp_path)
    with place.begun() as process:
        wait_for((tmp_path / "begun").exists, "the slow job")
        (slow,) = running("slow")
        slurm("scontrol", "update", f"jobid={slow}", "EndTime=now")
        wait_for(lambda: running("slow") - {slow}, "its second attempt")
        (tmp_path / "enough").touch()
        printed = ended(process)
    over, then = jobs_of(run_id(printed), "slow")
    assert (over.state, then.state) == ("TIMEOUT", "COMPLETED")
    assert then.minutes == "2"
    *over, then = jobs_of(run_id(printed), "hungry")
    assert over
    assert {job.state for job in over} <= {"FAILED", "OUT_OF_MEMORY"}
    assert then.state == "COMPLETED"
    asked = [int(job.memory.removesuffix("M")) for job in (*over, then)]
    assert asked == [600, 800, 1200][: len(asked)]


def test_work_ends_elsewhere_when_a_node_crashes(unpredicted, finished, cluster):
    with unpredicted.begun(PART) as process:
        node = environment(unpredicted.frozen(PART))["SLURMD_NODENAME"]
        try:
            cluster("crash", node)
            printed = ended(process)
        finally:
            cluster("start", node)
    lost, then = jobs_of(run_id(printed), "predict_partition")
    assert (lost.state, lost.node) == ("NODE_FAIL", node)
    assert then.state == "COMPLETED"
    assert then.node != node
    unpredicted.assert_same(finished[0], PART)


def test_a_job_that_a_person_cancels_is_noticed(unpredicted):
    cancelled = set()
    with unpredicted.begun(PART) as process:
        while process.poll() is None:
            for job in running("predict_partition") - cancelled:
                slurm("scancel", job)
                cancelled.add(job)
            time.sleep(0.2)
        printed = ended(process, 1)
    assert len(cancelled) == 3
    for job in cancelled:
        assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in printed
    assert "At least one job did not complete successfully" in printed


@pytest.fixture
def host():
    """A cutout server that has nothing, and notes how many ask at once."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        server.lock, server.now, server.most, server.requests = threading.Lock(), 0, 0, 0
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        with server.lock:
            server.requests += 1
            server.now += 1
            server.most = max(server.most, server.now)
        time.sleep(0.2)
        with server.lock:
            server.now -= 1
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b"no such layer")

    def log_message(self, *words):
        pass


def test_two_jobs_never_ask_one_host_at_once(root, profile, host, tmp_path):
    rows = [f"{side}{i},{20 + 180 * side + i / 100},0" for side in (0, 1) for i in range(12)]
    (tmp_path / "far.csv").write_text("\n".join(["object_id,ra,dec", *rows]))
    cutouts = {"service": "legacy", "server": f"http://127.0.0.1:{host.server_port}", "size": 32}
    survey = {
        "catalog": {"path": "far.csv"},
        "partitions": {"galaxies_per_partition": 12},
        "cutouts": cutouts,
        "images": {"recipe": "decals", "size": 32},
    }
    network = {"legacy": {"requests_per_second": 1000, "connections": 1, "max_failed": 1}}
    config = {"surveys": {"far": survey}, "network": network}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    place = Place(root / "Snakefile", profile, tmp_path, tmp_path / "config.yaml")
    catalog = "results/surveys/far/catalog"
    place.locally("--cores", "2", f"{catalog}/partitions.csv")
    tiles = [path.name for path in (tmp_path / catalog / "tiles").glob("*.parquet")]
    assert len(tiles) == 2
    printed = place.submit(*(f"results/surveys/far/cutouts/{tile}" for tile in tiles))
    first, second = jobs_of(run_id(printed), "fetch_cutouts")
    assert second.start >= first.end
    assert (host.requests, host.most) == (24, 1)


def running(rule):
    return {job for job, name in in_queue("RUNNING").items() if rule in name}
