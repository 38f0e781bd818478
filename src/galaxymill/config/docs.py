"""Write ``config/schema.json`` and ``config/README.md`` from the config's own models.

Run as ``python -m galaxymill.config.docs FOLDER``; a test fails when they have drifted.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from galaxymill.config.config import Config, Explorer, Interest, Prediction, Release, Search, Space
from galaxymill.config.detectability import Detectability
from galaxymill.config.models import EncoderAlone, Model
from galaxymill.config.rounds import Round
from galaxymill.config.survey import Catalog, Partitions
from galaxymill.downloads.settings import DownloadSettings
from galaxymill.images.recipes import RECIPES
from galaxymill.labels.formats import FORMATS
from galaxymill.labels.settings import LabelImages, Labels
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.models.settings import TrainSettings
from galaxymill.rates import Rates
from galaxymill.reporting.templates import read_templates
from galaxymill.simulation.settings import SimulationSettings
from galaxymill.spaces.settings import MapSettings
from galaxymill.splits import SplitSettings
from galaxymill.storage.atomic import atomic_file
from galaxymill.surveys.registry import SERVICES
from galaxymill.tasks.checks import CheckSettings
from galaxymill.web.network import Network

_MODELS: tuple[type[BaseModel], ...] = (
    *(Catalog, CheckSettings, Detectability, DownloadSettings, EncoderAlone, Explorer, Interest),
    *(LabelImages, Labels, MapSettings, Model, Network, Partitions, Prediction, ProbeSettings),
    *(Rates, Release, Round, Search, SimulationSettings, Space, SplitSettings, TrainSettings),
)


def schema() -> dict[str, Any]:
    """Build the JSON schema of the config."""
    plain = Config.model_json_schema()
    plain["$defs"]["Cutouts"] = _one_of("service", SERVICES)
    plain["$defs"]["Images"] = _one_of("recipe", RECIPES)
    labels = plain["$defs"]["Labels"]
    shared = {k: v for k, v in labels["properties"].items() if k not in ("format", "settings")}
    required = [key for key in labels["required"] if key != "settings"]
    plain["$defs"]["Labels"] = _one_of("format", FORMATS, shared, required, default="counts")
    return plain


def _one_of(
    key: str,
    registry: Mapping[str, Any],
    shared: Mapping[str, Any] = MappingProxyType({}),
    required: Sequence[str] = (),
    default: str = "",
) -> dict[str, Any]:
    """Describe a choice from a registry: the name, with the settings that go with it.

    ``shared`` are properties of all choices, ``required`` those of them without a default; the
    choice ``default`` needs no name.
    """
    choices = []
    for name, entry in registry.items():
        one = entry.settings.model_json_schema()
        one["properties"] = {key: {"const": name}, **shared, **one["properties"]}
        named = [] if name == default else [key]
        one["required"] = [*named, *required, *one.get("required", [])]
        choices.append(one)
    return {"oneOf": choices}


def page() -> str:
    """Build the page that explains every key."""
    template = read_templates("galaxymill.config", autoescape=False).get_template("README.md.j2")
    return template.render(
        {model.__name__: model for model in _MODELS},
        services=SERVICES,
        recipes=RECIPES,
        formats=FORMATS,
        list_keys=_list_keys,
        first_line=lambda thing: thing.__doc__.splitlines()[0],
        describe_module=_describe_module,
    )


def _describe_module(settings: type) -> str:
    lines = (sys.modules[settings.__module__].__doc__ or "").splitlines()
    text = lines[0].split(": ", 1)[-1]
    return text[0].upper() + text[1:]


def _list_keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Name, default and description of each key that is no section of its own."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            continue
        default = "required" if info.is_required() else f"`{_spell(info.default)}`"
        yield name, default, info.description or ""


def _spell(value: Any) -> str:
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return json.dumps(round(value, 4) if isinstance(value, float) else value)


def write(folder: Path) -> None:
    """Write both files into ``folder``."""
    files = {"schema.json": json.dumps(schema(), indent=1) + "\n", "README.md": page()}
    for name, text in files.items():
        with atomic_file(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
