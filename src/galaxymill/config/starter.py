"""A config to start from, for one service and one tree, with comments."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from galaxymill.errors import UserError, unknown_name
from galaxymill.images.recipes import RECIPES
from galaxymill.reporting.templates import read_templates
from galaxymill.surveys.registry import SERVICES
from galaxymill.trees.tree import find_tree

CONFIG = "galaxymill.yaml"
"""Name of the config that ``galaxymill run`` takes when none is named."""

_RECIPES = {"euclid": "euclid", "hsc": "hsc", "files": "decals"}
"""Of services whose images have recipes of their own; others take `_DEFAULT`."""
_DEFAULT = "decals"
_PAGE = "config/README.md"


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
    if service not in SERVICES:
        raise unknown_name("--service", service, SERVICES, "service")
    if tree:
        find_tree(tree, trees, "--tree")
    recipe = _RECIPES.get(service, _DEFAULT)
    cutouts = SERVICES[service].settings
    available = list(cutouts.model_fields["bands"].default)
    template = read_templates("galaxymill.config", autoescape=False).get_template("starter.yaml.j2")
    text = template.render(
        page=_PAGE,
        service=service,
        tree=tree,
        recipe=recipe,
        recipes=", ".join(RECIPES),
        cutouts=cutouts,
        images=RECIPES[recipe].settings,
        bands=dict(zip(("blue", "green", "red"), available, strict=False)),
        keys=_keys,
    )
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{out}: is there already; name another file with --out") from None


def _keys(
    model: type[BaseModel], only: Sequence[str], without: Sequence[str] = ()
) -> Iterator[tuple[str, str, str]]:
    """Name, default and description of some keys, in the order of the model."""
    for name, info in model.model_fields.items():
        if name not in without and (not only or name in only):
            yield name, _spell(info.default), (info.description or "").split("\n")[0]


def _spell(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)
