"""Where a release comes from: ``provenance.json``, and the checksums of its files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from galaxymill.release.audit import Audit
from galaxymill.release.sources import MADE_FROM, MAKERS, ROLES, Model, Part
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.storage.origin import Origin, read_record

TABLES = ("friendly", "advanced")


def release_origin(
    parts: Sequence[Part], model: Model, metrics: Path | None, parameters: Mapping[str, Any]
) -> Origin:
    """Origin of a release: one digest over the digests of each role's files."""
    inputs = {
        role: sha256_json([part.records[role].digest for part in parts]) for role in ROLES
    } | {"model": model.digest}
    if metrics is not None:
        inputs["metrics"] = sha256_file(metrics)
    domain = parts[0].records["images"].origin["domain"]
    return Origin("release", parameters, inputs, domain)


def is_released(out: Path, origin: Origin) -> bool:
    """Tell whether the release that ``out`` names already answers ``origin``."""
    try:
        provenance = json.loads((out.parent / "provenance.json").read_text(encoding="utf-8"))
        return out.exists() and bool(provenance["origin"] == origin.to_dict())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_provenance(
    folder: Path, parts: Sequence[Part], model: Model, origin: Origin, audits: Mapping[str, Audit]
) -> None:
    """Write ``provenance.json``: every stage's request and every partition's digests.

    It holds no times and no places, so that the same inputs give the same file.
    """
    name = origin.parameters["name"]
    provenance = {
        "name": name,
        "galaxymill_version": version("galaxymill"),
        "origin": origin.to_dict(),
        "tables": {table: read_record(folder / f"{table}.parquet").digest for table in TABLES},
        "audit": {table: asdict(found) for table, found in audits.items()},
        "model": {"digest": model.digest, "origin": model.origin},
        "stages": {MAKERS[role]: _requests(parts, role) for role in ROLES},
        "partitions": [
            {"part": part.partition.part} | {role: part.records[role].digest for role in ROLES}
            for part in parts
        ],
    }
    text = json.dumps(provenance, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")


def _requests(parts: Sequence[Part], role: str) -> list[dict[str, Any]]:
    """List the distinct origins of a role's files, without the input that each partition has
    of its own: that one is the digest of the role before, in the list of partitions.
    """
    requests: dict[str, dict[str, Any]] = {}
    for part in parts:
        origin = part.records[role].origin
        own = MADE_FROM.get(role)
        shared = {key: digest for key, digest in origin["inputs"].items() if key != own}
        request = {**origin, "inputs": shared}
        known = requests.setdefault(sha256_json(request), {**request, "partitions": 0})
        known["partitions"] += 1
    return list(requests.values())


def write_checksums(folder: Path, name: str) -> None:
    """Write the sha256 of every file below ``folder`` as ``sha256sum -c`` reads them."""
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    lines = [f"{sha256_file(folder / file)}  {file}\n" for file in files if file != name]
    (folder / name).write_text("".join(lines), encoding="utf-8")
