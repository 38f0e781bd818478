"""An interest on disk: the card ``interest.yaml`` and the numbers of its process beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from galaxymill.errors import UserError
from galaxymill.interest.process import MOST, Process
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.yaml_file import read_yaml

INTEREST_FILE = "interest.yaml"
WEIGHTS_FILE = "weights.safetensors"
_ARRAYS = ("points", "scale", "weights", "root")
_NUMBERS = ("length", "variance", "noise", "mean", "deviation")


@dataclass(frozen=True)
class Interest:
    """What people find interesting.

    Attributes
    ----------
    name : str
    space : str
        Digest of the space whose features the process takes.
    process : Process
    facts : dict
        How many galaxies were rated, by whom, and how many it learned from.
    """

    name: str
    space: str
    process: Process
    facts: dict[str, Any]


def write_interest(folder: Path, interest: Interest, origin: Mapping[str, Any]) -> None:
    """Write the numbers and the card; the digest is over what they say."""
    from safetensors.numpy import save_file

    process = interest.process
    arrays = {name: np.ascontiguousarray(getattr(process, name)) for name in _ARRAYS}
    save_file(arrays, folder / WEIGHTS_FILE)
    weights = sha256_file(folder / WEIGHTS_FILE)
    numbers = {name: float(getattr(process, name)) for name in _NUMBERS}
    plain = {
        "name": interest.name,
        "space": interest.space,
        "process": numbers,
        "facts": interest.facts,
        "weights_sha256": weights,
        "digest": _digest(interest.name, interest.space, numbers, weights),
        "origin": dict(origin),
    }
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    (folder / INTEREST_FILE).write_text(text, encoding="utf-8")


def _digest(name: str, space: str, numbers: Mapping[str, float], weights: str) -> str:
    return sha256_json([name, space, dict(numbers), weights])


def read_interest(path: Path) -> tuple[Interest, str]:
    """Read ``interest.yaml`` and the numbers beside it; gives the digest too.

    Raises
    ------
    UserError
        When one is absent, is not what this version writes, or they do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    plain = read_yaml(path, "an interest")
    weights = path.parent / WEIGHTS_FILE
    try:
        if not weights.is_file() or sha256_file(weights) != plain["weights_sha256"]:
            raise UserError(f"{weights}: not the numbers that {path} names; fit the interest again")
        arrays = load_file(weights)
        numbers = {name: float(plain["process"][name]) for name in _NUMBERS}
        points, scale, known, root = (arrays[name] for name in _ARRAYS)
        process = Process(points, scale, known, root, **numbers)
        interest = Interest(str(plain["name"]), str(plain["space"]), process, dict(plain["facts"]))
        _check_shapes(process)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise UserError(f"{path}: not an interest of galaxymill ({error})") from error
    return interest, _digest(interest.name, interest.space, numbers, plain["weights_sha256"])


def _check_shapes(process: Process) -> None:
    rated, components = process.points.shape
    known = rated if process.deviation else 0
    shapes = [(components,), (known,), (known, known)]
    found = [process.scale.shape, process.weights.shape, process.root.shape]
    if not 1 <= rated <= MOST or found != shapes:
        raise ValueError("shapes of its numbers do not agree")
