"""Write ``config/schema.json`` and ``config/README.md`` from the config's own models.

Run as ``python -m galaxymill.config.docs FOLDER``; a test fails when they have drifted.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from galaxymill import config
from galaxymill.downloads.settings import DownloadSettings
from galaxymill.images.recipes import RECIPES
from galaxymill.labels.formats import FORMATS
from galaxymill.labels.settings import LabelImages, Labels
from galaxymill.models.settings import TrainSettings
from galaxymill.rates import Rates
from galaxymill.simulation.settings import SimulationSettings
from galaxymill.splits import SplitSettings
from galaxymill.storage.atomic import atomic_file
from galaxymill.surveys.registry import SERVICES
from galaxymill.tasks.checks import CheckSettings
from galaxymill.web.network import Network

_HEAD = """# The config

One YAML file says everything that a run needs to know. `config.yaml` here is the demo;
`snakemake --configfile mine.yaml` replaces it. Paths are relative to the directory that
Snakemake runs in. A key that is not listed below is refused, as is a file that is not there.
`schema.json` says the same to editors. This page is generated: `make schema`.

A config for a survey of your own, with a model trained on a folder of labelled images:

```yaml
surveys:
  dwarfs:
    catalog: {path: dwarfs.csv, object_id: name, petro_r50: r50, petro_r90: r90, keep: [mag_r]}
    cutouts: {service: legacy, layer: ls-dr9, pixel_scale: gz_decals, size: 424}
    images: {recipe: decals}
labels:
  gz2:
    votes: gz2/votes.csv          # object_id, file_loc, and counts, see below
    tree: gz2
    images: {folder: gz2}
models:
  gz2: {labels: gz2, train: {encoder: efficientnet_lite0, epochs: 30}}
predictions:
  dwarfs:
    survey: dwarfs
    model: gz2
    allow_domain_shift: true      # gz2's images are another survey's
releases:
  dwarfs-v1: {predictions: dwarfs}
network:
  legacy: {contact: me@example.org}
```

A vote table has one row per galaxy and, for each answer of the tree, a column of whole numbers
named `{question}_{answer}`, e.g. `smooth-or-featured-gz2_smooth`; the trees known by name are the
files of `trees/`. With columns `ra` and `dec` galaxies are split by their place on the sky. Other
layouts, Zooniverse's exports among them, are formats: see `docs/labels.md`.

Columns of tables are checked when a table is read, in the first seconds of a run: `snakemake plan`
does that much. Put targets before `--configfile`, which takes every word after it.
"""


def schema() -> dict[str, Any]:
    """Build the JSON schema of the config."""
    plain = config.Config.model_json_schema()
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
    """Spell a choice from a registry: the name, with the settings that go with it.

    ``shared`` are properties that all choices have, ``required`` those of them that must be
    given; the choice ``default`` needs no name.
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
    sections: list[tuple[str, str, type[BaseModel]]] = [
        (
            "downloads.NAME",
            "A published file; others name it as results/downloads/NAME.",
            DownloadSettings,
        ),
        ("simulations.NAME", "A sky with known truth.", SimulationSettings),
        ("surveys.NAME.catalog", "A table of galaxies: CSV, Parquet or FITS.", config.Catalog),
        ("surveys.NAME.partitions", "The unit of every later job.", config.Partitions),
    ]
    sections += [
        (f"surveys.NAME.cutouts, service: {name}", _module_line(entry.settings), entry.settings)
        for name, entry in SERVICES.items()
    ]
    sections += [
        (f"surveys.NAME.images, recipe: {name}", _first_line(entry.colour), entry.settings)
        for name, entry in RECIPES.items()
    ]
    sections += [
        ("labels.NAME", "Files of labels; the keys of their format stand beside.", Labels),
    ]
    sections += [
        (f"labels.NAME, format: {name}", _first_line(entry.settings), entry.settings)
        for name, entry in FORMATS.items()
    ]
    sections += [
        ("labels.NAME.images", "One of survey and folder.", LabelImages),
        ("labels.NAME.splits", "A hash decides who is learned from.", SplitSettings),
        ("labels.NAME.checks", "What has too many votes is left out and told.", CheckSettings),
        ("models.NAME", "What is learned, and from what.", config.Model),
        ("models.NAME.train", "How it learns.", TrainSettings),
        ("predictions.NAME", "What a model says of a survey's galaxies.", config.Prediction),
        ("releases.NAME", "A catalogue to publish.", config.Release),
        ("network.SERVICE", "How hard a service may be asked; changes no product.", Network),
        ("rates", "How fast your machines are, two cores by default; only a plan asks.", Rates),
    ]
    return _HEAD + "".join(_section(*section) for section in sections)


def _first_line(function: Any) -> str:
    if function is None:
        return "The image as served, decoded to check it and brought to size."
    return (function.__doc__ or "").splitlines()[0]


def _module_line(settings: type) -> str:
    lines = (sys.modules[settings.__module__].__doc__ or "").splitlines()
    text = lines[0].split(": ", 1)[-1]
    return text[0].upper() + text[1:]


def _section(title: str, text: str, model: type[BaseModel]) -> str:
    rows = ["", f"## {title}", "", text, "", "| key | default | meaning |", "|---|---|---|"]
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            continue
        default = "required" if info.is_required() else f"`{_spell(info.default)}`"
        rows.append(f"| `{name}` | {default} | {info.description or ''} |")
    return "\n".join(rows) + "\n"


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
