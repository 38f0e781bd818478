"""What made a product: stage, version, parameters, and the digests of its inputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from galaxymill.errors import UserError
from galaxymill.stages import STAGE_VERSIONS
from galaxymill.storage.digest import sha256_file

METADATA_KEY = b"galaxymill"


@dataclass(frozen=True)
class Origin:
    """What a product is made by and of; products with equal origins hold equal rows.

    Attributes
    ----------
    stage : str
        A name of `galaxymill.stages.STAGE_VERSIONS`.
    parameters : mapping
        Plain JSON values; only what changes the product.
    inputs : mapping of str to str
        Content digest of each input, by the input's role.
    domain : mapping
        For images and what follows: the survey and the recipe they come from.
    """

    stage: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    domain: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, as kept in Parquet footers and ``model.yaml``."""
        plain = {
            "stage": self.stage,
            "stage_version": STAGE_VERSIONS[self.stage],
            "parameters": dict(self.parameters),
            "inputs": dict(self.inputs),
            "domain": dict(self.domain),
        }
        normalised: dict[str, Any] = json.loads(json.dumps(plain))
        return normalised


@dataclass(frozen=True)
class Record:
    """A product's footer: see `Origin.to_dict`, digest over the logical rows, number of rows."""

    origin: dict[str, Any]
    digest: str
    rows: int


def read_record(path: Path, stage: str | None = None) -> Record:
    """Read the footer of a Parquet product, which ``stage`` must have made, if one is named.

    Raises
    ------
    UserError
        When the file is no Parquet file, none of ours, or made by another stage.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
        plain = json.loads(metadata[METADATA_KEY])
        record = Record(plain["origin"], plain["digest"], plain["rows"])
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run the stage that makes it first") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a product of galaxymill ({error})") from error
    if stage is not None and record.origin["stage"] != stage:
        made_by = record.origin["stage"]
        raise UserError(f"{path}: made by {made_by}; what is needed here is made by {stage}")
    return record


def is_made(path: Path, origin: Origin) -> bool:
    """Tell whether the Parquet product at ``path`` already answers ``origin``."""
    try:
        return path.exists() and read_record(path).origin == origin.to_dict()
    except UserError:
        return False


def content_digest(path: Path) -> str:
    """Digest of an input file: over the rows of a product of ours, over the bytes of any other.

    Raises
    ------
    UserError
        When there is no such file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file (looked in {Path.cwd()})")
    try:
        return read_record(path).digest
    except UserError:
        return sha256_file(path)
