"""The record of a run, kept in its releases; one that is made by hand has none."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.reproduction.closure import own_files, renamed
from galaxymill.settings import parse_json
from galaxymill.storage.atomic import atomic_tree
from galaxymill.storage.digest import sha256_file

CONFIG, INPUTS, GRAPH = "config.yaml", "inputs.json", "rulegraph.mmd"


def release_target(name: str) -> str:
    """The file that the workflow must make for a release."""
    return f"results/releases/{name}/SHA256SUMS"


def record_run(text: str, release: str, workflow: Path, out: Path) -> None:
    """Write down what a release is made from: its config, the user's files, the workflow.

    Parameters
    ----------
    text : str
        The release's part of the config as JSON, see
        `galaxymill.reproduction.closure.closure`.
    workflow : Path
        The folder of the Snakefile.
    out : Path
        ``config.yaml``, written last; the user's own files are named ``inputs/…`` in it.
        Beside it: ``inputs.json`` holds their sha256, ``rulegraph.mmd`` is the graph of the rules,
        ``workflow/`` holds the rules themselves.
    """
    plain = parse_json(text)
    config = load_config(plain, "config", workflow / "config" / "trees")
    files = own_files(config)
    new = _new_names([path for _, path in files])
    inputs = [{"key": key, "name": new[str(path)], **_describe(path)} for key, path in files]
    names = {(key, str(path)): new[str(path)] for key, path in files}
    with atomic_tree(out.parent, out.name) as folder:
        (folder / INPUTS).write_text(json.dumps(inputs, indent=1) + "\n", encoding="utf-8")
        (folder / GRAPH).write_text(_rule_graph(plain, release, workflow), encoding="utf-8")
        _copy_workflow(workflow, folder / "workflow")
        own = yaml.safe_dump(renamed(plain, names), sort_keys=False, allow_unicode=True)
        (folder / CONFIG).write_text(own, encoding="utf-8")


def _new_names(files: Sequence[Path]) -> dict[str, str]:
    """Name the user's files without their folders; two of one name get numbers."""
    names: dict[str, str] = {}
    for path in files:
        name = path.name
        if f"inputs/{name}" in names.values() and str(path) not in names:
            name = f"{len(names)}-{name}"
        names.setdefault(str(path), f"inputs/{name}")
    return names


def _describe(path: Path) -> dict[str, Any]:
    if path.is_dir():
        return {"folder": True}
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size}


def _rule_graph(plain: Mapping[str, Any], release: str, workflow: Path) -> str:
    """Ask Snakemake for the graph of the rules that make a release."""
    with TemporaryDirectory() as temporary:
        config = Path(temporary, CONFIG)
        config.write_text(yaml.safe_dump(dict(plain)), encoding="utf-8")
        call = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
        call += [release_target(release), "--forceall", "--nolock", "--rulegraph", "mermaid-js"]
        call += ["--configfile", str(config)]
        done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{workflow / 'Snakefile'}: no rule graph: {done.stderr.strip()[-500:]}")
    return done.stdout


def _copy_workflow(workflow: Path, out: Path) -> None:
    for path in [workflow / "Snakefile", *sorted((workflow / "workflow").rglob("*"))]:
        place = path.relative_to(workflow)
        if path.is_file() and not any(part.startswith((".", "__")) for part in place.parts):
            copy = out / place
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
