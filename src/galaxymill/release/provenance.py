"""Where a release comes from: the folder ``provenance``."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from galaxymill.detectability.table import Detectable
from galaxymill.release.audit import Audit
from galaxymill.release.columns import PARQUET
from galaxymill.release.machine import environment, write_costs
from galaxymill.release.predictions import Prediction
from galaxymill.release.sources import Part, maker
from galaxymill.stages import STAGES
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.storage.origin import Origin, read_record

RELEASE = "provenance/release.json"
_NOT_OF_A_RELEASE = (
    *("plan", "volunteers", "space", "project", "map", "similar"),
    *("interest", "rate", "interesting", "detectability"),
    *("release", "explore", "explorer"),
    *("choose", "write_subjects", "judge", "history"),
)
_OF_A_PARTITION = {"tile", "cutouts", "images", "predictions", "embeddings", "features"}


def release_origin(
    catalog: str,
    parts: Sequence[Part],
    predictions: Sequence[Prediction],
    parameters: Mapping[str, Any],
    detectable: Detectable | None = None,
) -> Origin:
    """Origin of a release: the catalogue's digest, and one over those of each role's files."""
    inputs = {
        role: sha256_json([part.records[role].digest for part in parts]) for role in parts[0].files
    } | {"catalog": catalog}
    for one in predictions:
        inputs[f"model of {one.name}"] = one.card.digest
        if one.metrics_file is not None:
            inputs[f"metrics of {one.name}"] = sha256_file(one.metrics_file)
    if detectable is not None:
        inputs["detectability"] = detectable.digest
    domain = parts[0].records["images"].origin["domain"]
    return Origin("release", parameters, inputs, domain)


def is_released(out: Path, origin: Origin) -> bool:
    """Tell whether the release that ``out`` names already answers ``origin``."""
    try:
        provenance = json.loads((out.parent / RELEASE).read_text(encoding="utf-8"))
        return out.exists() and bool(provenance["origin"] == origin.to_dict())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_provenance(
    folder: Path,
    parts: Sequence[Part],
    predictions: Sequence[Prediction],
    origin: Origin,
    audits: Mapping[str, Audit],
    run: Path | None,
    benchmarks: Path | None,
) -> None:
    """Write the folder ``provenance``.

    ``release.json`` holds every stage's request and every partition's digests, and neither times
    nor places: the same inputs give the same file. What computed, and how long, is apart from
    it, in ``environment.json`` and ``costs.csv``. All beside ``run``, its config, is copied.
    """
    place = folder / "provenance"
    if run is not None:
        # The lock of another run may come and go there.
        shutil.copytree(run.parent, place, ignore=shutil.ignore_patterns(".*"))
    place.mkdir(exist_ok=True)
    name = origin.parameters["name"]
    provenance = {
        "name": name,
        "galaxymill_version": version("galaxymill"),
        "origin": origin.to_dict(),
        "tables": {table: read_record(folder / f"{table}.parquet").digest for table in PARQUET},
        "audit": {table: asdict(found) for table, found in audits.items()},
        "models": {
            one.name: {"digest": one.card.digest, "origin": one.card.origin} for one in predictions
        },
        "stages": {
            "/".join([maker(role), *role.split("/")[1:]]): _requests(parts, role)
            for role in parts[0].files
        },
        "partitions": [
            {"part": part.partition.part} | {r: part.records[r].digest for r in part.files}
            for part in parts
        ],
    }
    _write_json(folder / RELEASE, provenance)
    _write_json(place / "environment.json", environment())
    if benchmarks is not None:
        # The domain names where the pixels are from, which may be another name than the survey's.
        survey = parts[0].files["cutouts"].parent.parent.name
        write_costs(benchmarks, _cost_files(survey, predictions), place / "costs.csv")


def _cost_files(survey: str, predictions: Sequence[Prediction]) -> dict[str, list[str]]:
    """Patterns of each stage's files, once for each prediction that it was run for."""
    names = [
        {
            "survey": survey,
            "prediction": one.name,
            "model": one.model.parent.name,
            "evaluation": one.metrics_file.parent.name if one.metrics_file else "-",
        }
        for one in predictions
    ]
    return {
        stage.name: list(dict.fromkeys(stage.benchmarks.format(**one) for one in names))
        for stage in STAGES.values()
        if stage.name not in _NOT_OF_A_RELEASE
    }


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _requests(parts: Sequence[Part], role: str) -> list[dict[str, Any]]:
    """List the distinct origins of a role's files, without the inputs that each partition has
    of its own: their digests stand in the list of partitions, or in those files' own origins.
    """
    requests: dict[str, dict[str, Any]] = {}
    for part in parts:
        origin = part.records[role].origin
        shared = {k: digest for k, digest in origin["inputs"].items() if k not in _OF_A_PARTITION}
        request = {**origin, "inputs": shared}
        counted = requests.setdefault(sha256_json(request), {**request, "partitions": 0})
        counted["partitions"] += 1
    return list(requests.values())
