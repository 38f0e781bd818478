"""The release as a Workflow Run RO-Crate: the workflow, its inputs and its results."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from galaxymill.release.documents.citation import license_url
from galaxymill.release.settings import Creator, ReleaseSettings
from galaxymill.storage.origin import Origin

_PROFILES = ("https://w3id.org/ro/wfrun/process/0.1", "https://w3id.org/ro/wfrun/workflow/0.1")
_WORKFLOW = "provenance/workflow/Snakefile"
_FORMATS = {
    ".parquet": "application/vnd.apache.parquet",
    ".fits": "application/fits",
    ".json": "application/json",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".png": "image/png",
}


def write_crate(
    folder: Path, title: str, settings: ReleaseSettings, origin: Origin, sums: Mapping[str, str]
) -> None:
    """Write ``ro-crate-metadata.json``; ``sums`` has the sha256 of each file to be listed.

    Without the workflow's rules in ``provenance/``, it is a Process Run Crate.
    """
    # rocrate warns of folders and files that it is not asked to copy.
    with warnings.catch_warnings(action="ignore"):
        _write(folder, title, settings, origin, sums)


def _write(
    folder: Path, title: str, settings: ReleaseSettings, origin: Origin, sums: Mapping[str, str]
) -> None:
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    has_workflow = _WORKFLOW in sums
    root = crate.root_dataset
    root["name"] = title
    root["description"] = settings.description or f"{title}: visual morphology of galaxies"
    root["datePublished"] = settings.date
    root["license"] = {"@id": license_url(settings.license)}
    profiles = _PROFILES if has_workflow else _PROFILES[:1]
    root["conformsTo"] = [_entity(crate, url, "CreativeWork") for url in profiles]
    people = [_creator(crate, *numbered) for numbered in enumerate(settings.creators, 1)]
    if people:
        root["creator"] = people
    files = [_file(crate, name, digest) for name, digest in sums.items() if name != _WORKFLOW]
    results = [file for file in files if file.id.endswith((".parquet", ".fits"))]
    if (folder / "hats").is_dir():
        results.append(crate.add_dataset(dest_path="hats", properties={"name": "HATS collection"}))
    instrument = _workflow(crate, sums) if has_workflow else _software(crate)
    objects = [
        _entity(crate, f"#{role}", "Dataset", name=role, sha256=digest)
        for role, digest in sorted(origin.inputs.items())
    ]
    action = {
        "name": f"made {title}",
        "instrument": instrument,
        "object": objects,
        "result": results,
        "endTime": settings.date,
    } | ({"agent": people} if people else {})
    root["mentions"] = _entity(crate, "#run", "CreateAction", **action)
    crate.metadata.write(folder)


def _entity(crate: Any, place: str, kind: str, **properties: Any) -> Any:
    from rocrate.model.entity import Entity

    return crate.add(Entity(crate, place, {"@type": kind, **properties}))


def _file(crate: Any, name: str, digest: str) -> Any:
    entries = {"name": name, "sha256": digest}
    if kind := _FORMATS.get(Path(name).suffix):
        entries["encodingFormat"] = kind
    return crate.add_file(dest_path=name, properties=entries)


def _creator(crate: Any, number: int, creator: Creator) -> Any:
    place = f"https://orcid.org/{creator.orcid}" if creator.orcid else f"#creator-{number}"
    institute = {"affiliation": creator.affiliation} if creator.affiliation else {}
    kind = "Person" if creator.orcid else "Organization"
    return _entity(crate, place, kind, name=creator.name, **institute)


def _workflow(crate: Any, sums: Mapping[str, str]) -> Any:
    entries = {"name": "Galaxymill", "sha256": sums[_WORKFLOW]}
    return crate.add_workflow(
        dest_path=_WORKFLOW, main=True, lang="snakemake", properties=entries, gen_cwl=False
    )


def _software(crate: Any) -> Any:
    from galaxymill import __version__

    kind = "SoftwareApplication"
    return _entity(crate, "#galaxymill", kind, name="Galaxymill", softwareVersion=__version__)
