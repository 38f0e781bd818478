"""The workflow from an installed package: in an empty folder, and as a module of another."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

PARTS = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "Snakefile", "src")
PARTS += ("workflow", "config", "profiles", "envs")
MODULE = """
configfile: "mine.yaml"

module galaxymill:
    snakefile: "{snakefile}"
    config: config

use rule * from galaxymill as galaxymill_*

rule mine:
    default_target: True
    input: "results/surveys/mini/images.csv"
"""


@pytest.fixture(scope="module")
def package(root, tmp_path_factory):
    """The package as a wheel holds it, unpacked."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copyfile
        copy(root / name, source / name)
    call = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    done = subprocess.run([*call, source], capture_output=True, text=True)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("building needs setuptools from the package index, which cannot be reached")
    assert not done.returncode, done.stderr[-3000:]
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def call(package, folder, *words):
    """Run a command of the unpacked package, which its rules take too."""
    here = Path(sys.executable).parent
    path = os.pathsep.join([str(here), os.environ.get("PATH", "")])
    environment = {**os.environ, "PYTHONPATH": str(package), "PATH": path}
    done = subprocess.run(
        [here / words[0], *words[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_the_wheel_holds_the_whole_workflow(root, package):
    inside = package / "galaxymill" / "_workflow"
    tracked = subprocess.run(
        ["git", "ls-files", "Snakefile", "workflow", "config", "profiles"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    names = tracked.stdout.split()
    assert len(names) > 40
    for name in names:
        assert (inside / name).read_bytes() == (root / name).read_bytes(), name
    assert (package / "galaxymill" / "py.typed").is_file()


def test_an_empty_folder_has_the_demo(package, tmp_path):
    code, printed = call(package, tmp_path, "galaxymill", "run", "--", "-n", "release")
    assert code == 0, printed
    assert str(package) in printed
    assert "merge_release" in printed


def test_the_config_that_is_there_is_taken(package, tmp_path):
    code, printed = call(package, tmp_path, "galaxymill", "init", "--service", "legacy")
    assert code == 0, printed
    code, printed = call(package, tmp_path, "galaxymill", "run", "--", "-n", "images")
    assert code != 0
    assert "galaxymill.yaml: surveys.mine.catalog.path: no such file: GALAXIES.csv" in printed
    (tmp_path / "GALAXIES.csv").write_text("object_id,ra,dec\na,150,2\n")
    code, printed = call(package, tmp_path, "galaxymill", "run", "--", "-n", "images")
    assert code == 0, printed
    assert "partition_catalog" in printed


def test_another_workflow_takes_it_as_a_module(package, tmp_path, simulated_config):
    """To its end: partitions are known only while it runs."""
    kept = {name: simulated_config[name] for name in ("simulations", "surveys", "network")}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(kept))
    snakefile = package / "galaxymill" / "_workflow" / "Snakefile"
    (tmp_path / "Snakefile").write_text(MODULE.format(snakefile=snakefile))
    code, printed = call(package, tmp_path, "snakemake", "--cores", "2")
    assert code == 0, printed[-6000:]
    assert "galaxymill_render_images" in printed
    assert list((tmp_path / "results/surveys/mini/images").glob("*.parquet"))
