"""Snakemake is interrupted or killed while its jobs are in the queue, and started again."""

import os
import signal

from submission import ended, in_queue, wait_for

PART = "results/predictions/demo/g0-k2-p106.parquet"


def test_an_interrupted_run_takes_its_jobs_with_it_and_goes_on_later(unpredicted, finished):
    with unpredicted.begun(PART) as process:
        unpredicted.frozen(PART)
        process.send_signal(signal.SIGINT)
        ended(process, 1)
        wait_for(lambda: not in_queue(), "the end of the job")
    unpredicted.submit(PART)
    unpredicted.assert_same(finished[0], PART)


def test_orphans_of_a_killed_run_are_found_and_cancelled(unpredicted, finished):
    with unpredicted.begun(PART) as process:
        orphan = unpredicted.frozen(PART)
        ((job, _),) = in_queue().items()
        told = unpredicted.galaxymill("cluster", "orphans", "--cancel")
        assert "is alive" in told
        assert job in in_queue()
        process.send_signal(signal.SIGKILL)
        process.wait()
    told = unpredicted.galaxymill("cluster", "orphans")
    assert "is dead" in told
    assert str(unpredicted.folder) in told
    assert f"{job} running predict_partition demo_g0-k2-p106" in told
    assert "1 orphaned job" in told
    os.kill(orphan, 0)
    assert "cancelled 1 orphaned job" in unpredicted.galaxymill("cluster", "orphans", "--cancel")
    wait_for(lambda: not in_queue(), "the end of the orphan")
    assert "no jobs of Galaxymill" in unpredicted.galaxymill("cluster", "orphans")
    unpredicted.submit("--unlock")
    unpredicted.submit()
    unpredicted.assert_same(finished[0], "results/predictions/**/*.parquet")
    unpredicted.assert_same(finished[0], "results/releases/**/*.parquet")
