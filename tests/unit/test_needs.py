"""What jobs ask for grows with their input, their galaxies and their attempts."""

import pytest

from galaxymill.needs import (
    NEEDS,
    SNAKEMAKE_MB,
    Linear,
    Need,
    fetching,
    size_mb,
    training,
)
from galaxymill.stages import STAGES


@pytest.fixture
def files(tmp_path):
    """Two files of 50 MB together, and one that has yet to be made."""
    for name, size in (("a", 20_000_000), ("b", 30_000_000)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    return [str(tmp_path / name) for name in "abc"]


def test_files_that_are_not_there_count_nothing(files):
    assert size_mb(files) == 50


def test_need_grows(files):
    need = Need(Linear(100, per_mb=2, per_thousand=10), Linear(3, per_thousand=1))
    assert need.mem_mb(files, 2000, 1) == SNAKEMAKE_MB + 220
    assert need.runtime(files, 2000, 1) == 5


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_each_attempt_asks_for_twice_as_much(attempt):
    need = Need(Linear(100), Linear(3))
    assert need.mem_mb([], 0, attempt) == SNAKEMAKE_MB + 100 * 2 ** (attempt - 1)
    assert need.runtime([], 0, attempt) == 3 * 2 ** (attempt - 1)


def test_every_stage_has_its_need():
    assert set(NEEDS) | {"fetch", "train"} == set(STAGES)


def test_fetching_takes_longer_than_its_rate_says():
    assert fetching(5).runtime([], 4000, 1) > 4000 / 5 / 60
    assert fetching(50).runtime([], 4000, 1) < fetching(5).runtime([], 4000, 1)


def test_training_is_shared_by_its_processes():
    alone = training(passes=30, processes=1, devices=1, cache_gb=1)
    shared = training(passes=30, processes=8, devices=4, cache_gb=1)
    assert shared.runtime([], 250_000, 1) < alone.runtime([], 250_000, 1) / 4
    assert shared.mem_mb([], 0, 1) - SNAKEMAKE_MB == 4 * (alone.mem_mb([], 0, 1) - SNAKEMAKE_MB)
