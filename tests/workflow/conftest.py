"""One small survey, run to the end once a session; its copies serve the tests.

The sky is the simulated one, but catalogue and votes are files beside the results, so that a
test can add galaxies or votes as a user would.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml

from galaxymill.sky.healpix import healpix_pixels

# Of this sky the first galaxies of its two fullest tiles hold one with an empty band and one
# off the footprint.
SKY = {"n_galaxies": 130, "seed": 7}
TILE_ORDER = 3
PER_TILE = 30
ADDED = 8

SIMULATED: dict[str, Any] = {
    "simulations": {"mini": SKY},
    "surveys": {
        "mini": {
            "catalog": {
                "path": "results/simulations/mini/catalog.parquet",
                "petro_r50": "petro_r50",
                "petro_r90": "petro_r90",
                "keep": ["mag_r"],
            },
            "partitions": {"galaxies_per_partition": 50},
            "cutouts": {
                "service": "simulated",
                "truth": "results/simulations/mini/truth.parquet",
                "pixel_scale": "gz_decals",
                "size": 64,
            },
            "images": {"recipe": "decals", "size": 64},
            "telescope": {
                "seeing": {"g": 1.3, "r": 1.2, "z": 1.1},
                "depth": {"g": 24.7, "r": 23.9, "z": 23.0},
            },
        }
    },
    "labels": {
        "volunteers": {
            "votes": "results/simulations/mini/votes.parquet",
            "tree": "decals_dr5",
            "images": {"survey": "mini"},
        }
    },
    "models": {
        "mini": {
            "labels": "volunteers",
            "train": {
                "encoder": "resnet10t",
                "image_size": 32,
                "epochs": 2,
                "batch_size": 16,
                "learning_rate": 0.002,
            },
        }
    },
    "predictions": {"said": {"survey": "mini", "model": "mini"}},
    "spaces": {"looks": {"predictions": "said", "components": 4, "maps": {"all": {}}, "steps": 10}},
    "searches": {"like_one": {"space": "looks", "to": ["sim-000001"], "count": 5}},
    "interests": {"odd": {"space": "looks", "ratings": "ratings.csv"}},
    "releases": {"mini": {"predictions": "said"}},
    "explorers": {"see": {"release": "mini", "maps": "looks"}},
    "network": {"simulated": {"requests_per_second": 1000, "connections": 4}},
}


RAISE = """
import runpy, sys
from galaxymill import stages
stages.STAGE_VERSIONS[sys.argv.pop(1)] += 1
runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
"""


def changed(config: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Copy a config with one value set, e.g. at ``models.mini.train.epochs``."""
    copy = deepcopy(config)
    *way, last = place.split(".")
    inner = copy
    for step in way:
        inner = inner.setdefault(step, {})
    inner[last] = value
    return copy


@dataclass(frozen=True)
class Mill:
    """A working directory in which the workflow runs."""

    root: Path
    folder: Path
    config: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """Environment in which this interpreter's commands are found first."""
        plain = {key: value for key, value in os.environ.items() if "GALAXYMILL" not in key}
        here = str(Path(sys.executable).parent)
        return {**plain, "PATH": os.pathsep.join([here, plain.get("PATH", "")])}

    def command(self, *words: str, config: dict[str, Any] | None = None) -> list[str]:
        """Spell a call of snakemake; the config is written beside the results."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config if config is None else config))
        place = ["-s", str(self.root / "Snakefile"), "-d", str(self.folder)]
        call = [sys.executable, "-m", "snakemake", *place, "--cores", "2"]
        # Targets come first: --configfile takes every word that follows it.
        return [*call, *words, "--configfile", str(path)]

    def snakemake(
        self, *words: str, config: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run snakemake to its end, whatever its exit code."""
        return run(self.command(*words, config=config), self.folder, self.environment)

    def galaxymill(self, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the package in the working directory."""
        call = [str(Path(sys.executable).parent / "galaxymill"), *map(str, words)]
        return run(call, self.folder, {**self.environment, **variables})

    def finish(self, *words: str, config: dict[str, Any] | None = None) -> str:
        """Run snakemake, which must succeed; give what it printed."""
        done = self.snakemake(*words, config=config)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed[-6000:]
        return printed

    def dry(self, *words: str, config: dict[str, Any] | None = None) -> dict[str, int]:
        """Count the jobs of a dry run by rule, target rules left out."""
        return job_table(self.finish("-n", *words, config=config))

    def dry_raised(self, stage: str, config: dict[str, Any] | None = None) -> dict[str, int]:
        """Count the jobs of a dry run by rule, as if the version of a stage had been raised."""
        call = self.command("-n", config=config)
        call[1:3] = ["-c", RAISE, stage]
        done = run(call, self.folder, self.environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return job_table(done.stdout + done.stderr)

    def copy_to(self, folder: Path) -> "Mill":
        """Copy everything, time stamps and Snakemake's own records included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Mill(self.root, folder, self.config)

    def files(self, pattern: str) -> list[Path]:
        """Files under ``results/``, in the order of their names."""
        return sorted((self.folder / "results").glob(pattern))


def run(
    call: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it prints."""
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        call, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )


def job_table(printed: str) -> dict[str, int]:
    """Parse the first job table that snakemake printed; empty when there is nothing to do."""
    if "Nothing to be done" in printed:
        return {}
    assert "Job stats:" in printed, printed[-3000:]
    lines = printed.split("Job stats:")[1].split("\ntotal")[0].splitlines()
    rows = [re.fullmatch(r"(\w+)\s+(\d+)", line.strip()) for line in lines]
    table = {row[1]: int(row[2]) for row in rows if row}
    return {
        rule: n
        for rule, n in table.items()
        if rule not in {"all", "release", "evaluate", "features", "interests"}
    }


@pytest.fixture(scope="session")
def simulated_config() -> dict[str, Any]:
    """Config whose catalogue and votes are made by the workflow too."""
    return deepcopy(SIMULATED)


@pytest.fixture(scope="session")
def mini_config() -> dict[str, Any]:
    """Config of the finished run: catalogue and votes are the user's files."""
    config = changed(SIMULATED, "surveys.mini.catalog.path", "catalog.csv")
    return changed(config, "labels.volunteers.votes", "votes.parquet")


@pytest.fixture
def new_mill(root: Path, tmp_path: Path, simulated_config: dict[str, Any]) -> Mill:
    """Give an empty working directory."""
    return Mill(root, tmp_path / "work", simulated_config)


@pytest.fixture(scope="session")
def finished(
    root: Path, tmp_path_factory: pytest.TempPathFactory, mini_config: dict[str, Any]
) -> Mill:
    """Give the finished run, to be read only: dry runs are all that may happen in it."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = Mill(root, common / "finished", mini_config)
    with (common / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.folder.exists():
            building = Mill(root, common / "building", mini_config)
            _build(building)
            building.folder.rename(made.folder)
    # Each worker has its own, since dry runs write Snakemake's records.
    return made.copy_to(base / "mine")


def _build(mill: Mill) -> None:
    mill.finish("results/simulations/mini/truth.parquet", config=SIMULATED)
    rows = catalogue_rows(mill)
    write_catalogue(mill, rows[: 2 * PER_TILE])
    ids = read_sky(mill)["object_id"].take(rows[: 2 * PER_TILE])
    votes = pq.read_table(mill.folder / "results/simulations/mini/votes.parquet")
    pq.write_table(votes.filter(pc.is_in(votes["object_id"], ids)), mill.folder / "votes.parquet")
    for number, name in enumerate(ids.to_pylist()[:12]):
        rate(mill, name, number % 6)
    mill.finish()


def rate(mill: Mill, name: str, rating: float, rater: str = "ann") -> None:
    """Add a rating to those that there are."""
    path = mill.folder / "ratings.csv"
    if not path.exists():
        path.write_text("object_id,rating,rater\n")
    with path.open("a") as file:
        file.write(f"{name},{rating},{rater}\n")


def read_sky(mill: Mill) -> pa.Table:
    """Catalogue of the whole simulated sky."""
    return pq.read_table(mill.folder / "results/simulations/mini/catalog.parquet")


def catalogue_rows(mill: Mill) -> list[int]:
    """Rows of the sky: thirty of each of its two fullest tiles, then those that come later."""
    sky = read_sky(mill)
    pixels = healpix_pixels(sky["ra"].to_numpy(), sky["dec"].to_numpy(), TILE_ORDER)
    values, counts = np.unique(pixels, return_counts=True)
    fullest = values[np.argsort(counts)[-2:]]
    members = [np.flatnonzero(pixels == pixel).tolist() for pixel in fullest]
    first = sorted(row for rows in members for row in rows[:PER_TILE])
    return first + members[1][PER_TILE : PER_TILE + ADDED]


def write_catalogue(mill: Mill, rows: list[int]) -> None:
    """Write the user's catalogue."""
    pa.csv.write_csv(read_sky(mill).take(rows), mill.folder / "catalog.csv")


@pytest.fixture
def working_copy(finished: Mill, tmp_path: Path) -> Iterator[Mill]:
    """Give a copy of the finished run, to work in."""
    copy = finished.copy_to(tmp_path / "work")
    yield copy
    shutil.rmtree(copy.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def change() -> Any:
    """Function ``changed``: a config with one value set."""
    return changed


@pytest.fixture(scope="session")
def grow() -> Any:
    """Function that adds galaxies to a working copy's catalogue."""

    def more(mill: Mill) -> list[str]:
        rows = catalogue_rows(mill)
        write_catalogue(mill, rows)
        return read_sky(mill)["object_id"].take(rows[-ADDED:]).to_pylist()

    return more
