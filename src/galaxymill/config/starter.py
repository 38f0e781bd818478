"""A config to start from, for one service and one tree, with comments."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from galaxymill.errors import UserError, unknown_name
from galaxymill.images.recipes import RECIPES
from galaxymill.reporting.templates import read_templates
from galaxymill.surveys.registry import SERVICES
from galaxymill.trees.tree import find_tree

STARTED = sorted({*SERVICES} - {"observed", "synthetic"})
"""Services that a first survey may have: the others show what another survey is named for."""

_RECIPES = {"euclid": "euclid", "hsc": "hsc", "sdss": "passthrough", "files": "passthrough"}
"""Of services whose images are not drawn as those of Galaxy Zoo DECaLS."""
_FIRST = ("pixel_scale", "size", "bands")
"""Settings of cutouts that are shown with their defaults; others are behind a hash."""


def write_starter(out: Path, service: str, tree: str, trees: Path) -> None:
    """Write a config with comments to start from.

    Parameters
    ----------
    out : Path
        Must not be there.
    service : str
        Where cutouts come from.
    tree : str
        The questions of the labels, of those in ``trees``; none when empty.
    trees : Path

    Raises
    ------
    UserError
        When there is no such service or tree, or ``out`` is there already.
    """
    if service not in STARTED:
        raise unknown_name("--service", service, STARTED, "service")
    if tree:
        find_tree(tree, trees, "--tree")
    recipe = _RECIPES.get(service, "decals")
    cutouts = SERVICES[service].settings
    bands = cutouts.model_fields["bands"].default if recipe == "decals" else ()
    template = read_templates("galaxymill.config", autoescape=False).get_template("starter.yaml.j2")
    text = template.render(
        service=service,
        tree=tree,
        recipe=recipe,
        recipes=", ".join(RECIPES),
        cutouts=cutouts,
        bands=dict(zip(("blue", "green", "red"), bands, strict=False)),
        keys=_keys,
    )
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{out}: is there already; name another file with --out") from None


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    """What hides it, name, default and description of each key; one without a default is empty."""
    for name, info in model.model_fields.items():
        text = (info.description or "").splitlines()[0]
        if info.is_required():
            yield "", name, "", f"needed: {text}"
        else:
            yield "" if name in _FIRST else "# ", name, _spell(info.default), text


def _spell(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)
