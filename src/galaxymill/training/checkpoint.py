"""The state of a training in one safetensors file, replaced at the end of each epoch."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from galaxymill.models.store import not_finite
from galaxymill.storage.atomic import atomic_file

Tensors = dict[str, Tensor]
NOTE = "galaxymill"


def save_checkpoint(
    path: Path,
    request: str,
    parts: dict[str, Tensors],
    optimiser: torch.optim.Optimizer,
    facts: dict[str, Any],
) -> None:
    """Write everything that the next epoch needs.

    ``request`` is the digest of what is being trained: a checkpoint of another one is not used.
    ``parts`` are state dicts by name, ``facts`` plain JSON values.
    """
    state = optimiser.state_dict()["state"]
    slots = {f"{slot}.{name}": value for slot, own in state.items() for name, value in own.items()}
    tensors = {
        f"{part}/{name}": value.detach().cpu().contiguous()
        for part, own in {**parts, "optimiser": slots}.items()
        for name, value in own.items()
    }
    # One note only: safetensors writes several in no fixed order, and bytes are to be the same.
    note = json.dumps({"request": request, "facts": facts})
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {NOTE: note})


def load_checkpoint(
    path: Path, request: str, optimiser: torch.optim.Optimizer
) -> tuple[dict[str, Tensors], dict[str, Any]] | None:
    """Read a checkpoint's parts and facts, and put the optimiser in its state.

    None when there is no checkpoint of this request, it is broken, or the training has diverged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(NOTE, "{}"))
            if note.get("request") != request:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not_finite(tensors):
            return None
    except (OSError, SafetensorError, ValueError):
        return None
    parts: dict[str, Tensors] = {}
    for name, value in tensors.items():
        part, _, key = name.partition("/")
        parts.setdefault(part, {})[key] = value
    slots: dict[int, Tensors] = {}
    for key, value in parts.pop("optimiser", {}).items():
        slot, _, name = key.partition(".")
        slots.setdefault(int(slot), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
    return parts, note["facts"]
