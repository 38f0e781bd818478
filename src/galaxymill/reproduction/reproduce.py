"""A release made again from its own provenance, and compared with what it was."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
import yaml

from galaxymill.errors import UserError
from galaxymill.paths import WORKFLOW
from galaxymill.release.machine import environment
from galaxymill.release.provenance import RELEASE
from galaxymill.reporting.tables import text_table
from galaxymill.reproduction.differences import Difference, compare_releases
from galaxymill.reproduction.run import CONFIG, INPUTS, release_target
from galaxymill.storage.digest import sha256_file

MAX_BYTES = 10_000_000
"""Of a file of the provenance that is read."""

logger = logging.getLogger("galaxymill")


def reproduce(release: Path, work: Path, inputs: Path | None, cores: int, tolerance: float) -> bool:
    """Run the workflow again from a release's provenance alone, and compare.

    Parameters
    ----------
    release : Path
        Its folder.
    work : Path
        Folder to run in; made when it is not there. A broken run goes on where it was.
    inputs : Path or None
        Folder of the user's own files, by their names in ``provenance/inputs.json``.
    cores : int
        0: all there are. Training adds numbers in another order on another number of threads:
        give as many as the release was made on to get the same bits.
    tolerance : float
        Numbers that differ by no more are the same.

    Returns
    -------
    bool
        Whether every column is the same in every row. The differences are printed.

    Raises
    ------
    UserError
        When the release has no record of its run, an input is absent or another file, or the
        workflow fails.
    """
    name = _name(release / RELEASE)
    record = release / "provenance" / CONFIG
    if not record.is_file():
        raise UserError(
            f"{record}: no such file: this release was made by hand, not by the workflow, and "
            "cannot be reproduced from itself"
        )
    try:
        config = yaml.safe_load(_read(record))
    except yaml.YAMLError as error:
        raise UserError(f"{record}: not a config: {error}") from error
    _warn_of_versions(release)
    work.mkdir(parents=True, exist_ok=True)
    _place_inputs(release, work, inputs)
    (work / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    target = release_target(name)
    _run_workflow(work, target, cores)
    differences = compare_releases(release, (work / target).parent, tolerance)
    typer.echo(_table(differences))
    return not any(difference.beyond for difference in differences)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: larger than {MAX_BYTES} bytes; not a provenance")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a release") from error


def _name(path: Path) -> str:
    """Name of a release; it becomes a part of a path."""
    name = str(_read_json(path).get("name"))
    if not re.fullmatch(r"[\w-]+", name):
        raise UserError(f"{path}: name {name!r} is not that of a release")
    return name


def _inputs(path: Path) -> list[tuple[str, str, str | None]]:
    """Key, name and sha256 of each of the user's files."""
    try:
        return [
            (str(entry["key"]), Path(str(entry["name"])).name, entry.get("sha256"))
            for entry in json.loads(_read(path))
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a list of inputs: {error!r}") from error


def _read_json(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(_read(path)))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a provenance: {error}") from error


def _warn_of_versions(release: Path) -> None:
    """Name packages that have other versions than those that made the release."""
    path = release / "provenance" / "environment.json"
    then = (_read_json(path) if path.is_file() else {}).get("packages")
    now = environment()["packages"]
    other = [
        f"{name} {version} (here {now.get(name, 'none')})"
        for name, version in (then.items() if isinstance(then, dict) else ())
        if now.get(name) != version
    ]
    if other:
        logger.warning("other versions than the release was made with: %s", ", ".join(other))


def _place_inputs(release: Path, work: Path, inputs: Path | None) -> None:
    """Link the user's files to where the config names them; each must be the same as it was."""
    path = release / "provenance" / INPUTS
    for key, name, digest in _inputs(path):
        if inputs is None or not (inputs / name).exists():
            raise UserError(
                f"{path}: {key} was the user's file {name}, which is not in the release; "
                f"put it in a folder and give --inputs FOLDER (looked in {inputs or 'none'})"
            )
        found = inputs / name
        if found.is_file() and sha256_file(found) != digest:
            raise UserError(
                f"{found}: not the file that the release was made from: its sha256 is "
                f"{sha256_file(found)}, recorded is {digest}"
            )
        link = work / "inputs" / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(found.resolve())


def _run_workflow(work: Path, target: str, cores: int) -> None:
    """Run this installation's workflow; a release's own copy of it is for reading."""
    count = cores or len(os.sched_getaffinity(0))
    program = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile")]
    options = ["--directory", str(work.resolve()), "--cores", str(count), "--rerun-incomplete"]
    options += ["--configfile", str(work.resolve() / CONFIG)]
    if subprocess.run([*program, target, *options], stdout=sys.stderr).returncode:
        raise UserError(f"{work}: the workflow failed; its logs are in {work / 'results' / 'logs'}")


def _table(differences: Sequence[Difference]) -> str:
    """Spell the columns that differ, or that none does."""
    off = [difference for difference in differences if difference.beyond or difference.largest]
    columns, rows = len(differences), max((d.rows for d in differences), default=0)
    if not off:
        return f"identical: {columns} columns of {rows:,} galaxies"
    lines = [("column", "table", "rows beyond", "largest", "RMS")]
    lines += [(d.column, d.table, f"{d.beyond:,}", f"{d.largest:.3g}", f"{d.rms:.3g}") for d in off]
    same = columns - len(off)
    summary = f"{same} of {columns} columns are identical; {rows:,} galaxies"
    return "\n".join([*text_table(lines), summary])
