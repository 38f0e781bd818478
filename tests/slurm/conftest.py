"""The demo, smaller, run to its end through a real SLURM; its copies serve the tests.

`make test-slurm` starts the cluster that these tests need; see cluster.sh.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # helpers beside the tests
from submission import Place, in_queue, slurm, wait_for  # noqa: E402

SET_BY_THE_USER = {
    "account": "test",
    "cpu_partition": "cpu",
    "gpu_partition": "gpu",
    "gpu_threads": 2,
    # Nodes of this cluster have no addresses of their own.
    "setup": "export MASTER_ADDR=127.0.0.1 && touch set-up",
}
"""The first block of the profile, for this cluster."""


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Callable[..., None]:
    """Give a function that acts on the cluster: ``cluster("crash", "g1")``."""
    if why := slurm(str(HERE / "cluster.sh"), "why").strip():
        pytest.skip(why)
    if not shutil.which("scontrol") or subprocess.run(["scontrol", "ping"]).returncode:
        pytest.skip("the test cluster is not up; `make test-slurm` starts it")

    def act(*words: str) -> None:
        subprocess.run([HERE / "cluster.sh", *words], check=True, timeout=60)

    return act


@pytest.fixture(autouse=True)
def _nothing_is_left(cluster: Callable[..., None]) -> Iterator[None]:
    yield
    for job in in_queue():
        slurm("scancel", job)
    wait_for(lambda: not in_queue(), "an empty queue")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that every working directory is in."""
    return tmp_path_factory.mktemp("slurm")


@pytest.fixture(scope="session")
def profile(root: Path, base: Path) -> Path:
    """The real profile with this cluster's values on top, which does not wait long."""
    profile = yaml.safe_load((root / "profiles/slurm/profile.yaml").read_text())
    profile["__variables__"] |= SET_BY_THE_USER
    profile |= {"slurm-init-seconds-before-status-checks": 2, "latency-wait": 10}
    (base / "profile").mkdir()
    (base / "profile/profile.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    return base / "profile"


@pytest.fixture(scope="session")
def demo(root: Path, base: Path, profile: Path) -> Place:
    """The demo, smaller, of which nothing is made yet."""
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    config["simulations"]["demo"]["n_galaxies"] = 80
    survey = config["surveys"]["demo"]
    survey["partitions"]["galaxies_per_partition"] = 70
    survey["cutouts"]["size"] = survey["images"]["size"] = 64
    smaller = {"image_size": 32, "views": 1, "epochs": 2, "precision": "fp32"}
    config["models"]["demo"]["train"] |= smaller
    config["predictions"]["demo"]["precision"] = "fp32"
    config["spaces"]["demo"]["steps"] = 10
    # It asks for a galaxy that this sky has not.
    del config["searches"]
    # Its rules are like the others, and take minutes.
    del config["explorers"]
    (base / "config.yaml").write_text(yaml.safe_dump(config))
    return new(Place(root / "Snakefile", profile, base / "demo", base / "config.yaml"))


def new(place: Place) -> Place:
    """Make the folder."""
    place.folder.mkdir()
    return place


@pytest.fixture(scope="session")
def finished(demo: Place) -> tuple[Place, str]:
    """The demo, made through SLURM, and what Snakemake printed."""
    return demo, demo.submit()


@pytest.fixture
def unpredicted(finished: tuple[Place, str], tmp_path: Path) -> Place:
    """A copy of the finished demo, without its predictions and what is made of them."""
    place = replace(finished[0], folder=tmp_path / "copy")
    shutil.copytree(finished[0].folder, place.folder)
    for gone in ("predictions", "embeddings", "releases"):
        shutil.rmtree(place.folder / "results" / gone)
    return place
