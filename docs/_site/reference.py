"""Pages of reference, made from the code: config, commands, products, flags, rules, Python."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

from galaxymill import flags, products
from galaxymill.cli import app
from galaxymill.config import docs as config_docs
from galaxymill.paths import TREES, WORKFLOW
from galaxymill.reporting.tables import markdown_table
from galaxymill.stages import STAGES
from galaxymill.tasks import VoteTask
from galaxymill.trees.tree import load_tree

BESIDE = {"architecture": "ARCHITECTURE.md", "contributing": "CONTRIBUTING.md"}
BESIDE |= {"changelog": "CHANGELOG.md"}
MODULES = (
    *("catalog.ingest", "catalog.partition", "labels.table", "models.store", "trees.tree"),
    *("storage.origin", "storage.parquet", "release.merge", "comparison.compare"),
    *("statistics.bootstrap", "statistics.calibration", "statistics.distributions"),
    *("spaces.space", "search.search", "probes.fit", "interest.process", "surveys.base"),
)
"""Modules whose functions other programs may call."""


def write(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "config": beside(config_docs.page()),
        "commands": commands(),
        "trees": list_trees(),
        "products": list_products(),
        "flags": list_flags(),
        "rules": list_rules(),
        "python": python(),
        **{name: beside((WORKFLOW / file).read_text("utf-8")) for name, file in BESIDE.items()},
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        # An unchanged file is not read again.
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")


def beside(text: str) -> str:
    """Turn links of a page outside ``docs/`` into links as from there."""
    # GitHub draws such graphs; here they are read.
    text = text.replace("```mermaid", "```text")
    text = re.sub(r"\]\((?:\.\./)?docs/([^)]*)\)", r"](/\1)", text)
    return re.sub(r"\]\((?!/|http|#|\.\./)([^)]*)\)", r"](../\1)", text)


def commands() -> str:
    """Every command, with its help."""
    top = typer.main.get_command(app)
    lines = ["# Commands", "", "Every stage is a command; `galaxymill NAME --help` says the same."]
    for name, command in _commands(top, "galaxymill"):
        lines += ["", f"## {name}", "", _help(command)]
    return "\n".join(lines) + "\n"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if members := getattr(command, "commands", None):
        for key, one in sorted(members.items()):
            yield from _commands(one, f"{name} {key}")
    else:
        yield name, command


def _help(command: Any) -> str:
    """Usage, text and a table of arguments and options."""
    text = (command.help or "").replace("\b", "").strip()
    rows = []
    for one in command.params:
        told = getattr(one, "help", "") or ""
        if one.name == "help":
            continue
        words = one.name.upper() if one.param_type_name == "argument" else one.opts[0]
        rows.append((f"`{words}`", "yes" if one.required else "", _cell(told)))
    table = markdown_table(("", "needed", ""), rows) if rows else ""
    return f"{text}\n\n{table}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def list_trees() -> str:
    """Questions and answers of every tree that is known by name."""
    lines = ["# Trees", "", "`tree: NAME` in a config means one of these files of `config/trees`."]
    for file in sorted(TREES.glob("*.yaml")):
        rows = [
            (f"`{one.name}`", ", ".join(one.answers), " or ".join(one.asked_after) or "always")
            for one in load_tree(file).questions
        ]
        table = markdown_table(("question", "answers", "asked after"), rows)
        lines += ["", f"## {file.stem}", "", table]
    return "\n".join(lines) + "\n"


def list_products() -> str:
    """Columns of every product."""
    task = VoteTask(load_tree(TREES / "rings.yaml"))
    schemas = {
        "objects.parquet": (products.objects(("petro_r50",), []), "the catalogue, as it is kept"),
        "cutouts/{part}.parquet": (products.CUTOUTS, "what a service answered"),
        "images/{part}.parquet": (products.IMAGES, "the pictures that volunteers and networks see"),
        "votes.parquet": (products.votes(task, True), "labels; here of the tree of rings"),
        "predictions/{part}.parquet": (
            products.predictions(task, 5),
            "what a model says; here of the tree of rings",
        ),
        "embeddings/{part}.parquet": (
            products.embeddings(512),
            "what an encoder makes of an image",
        ),
        "features/{part}.parquet": (products.features(64, ["all"]), "the same in a space"),
    }
    lines = ["# Products and their columns", ""]
    lines += ["All are Parquet, a row a galaxy, keyed by `object_id`. A release's own columns are "]
    lines[-1] += "listed in its README and its VOParquet header."
    for name, (schema, text) in schemas.items():
        lines += ["", f"## {name}", "", f"{text[0].upper()}{text[1:]}.", ""]
        lines += [markdown_table(("column", "type", "unit", ""), _columns(schema))]
    stages = [(f"`{one.name}`", str(one.version), f"`{one.product}`") for one in STAGES.values()]
    lines += [
        "",
        "## Stages",
        "",
        "Each stage, its version, and the file that says it is done.",
        "",
    ]
    lines += [markdown_table(("stage", "version", "product"), stages)]
    return "\n".join(lines) + "\n"


def _columns(schema: pa.Schema) -> Iterator[tuple[str, str, str, str]]:
    for one in schema:
        told = {key.decode(): value.decode() for key, value in (one.metadata or {}).items()}
        kind = str(one.type).replace("<", "\\<").replace("|", "\\|")
        yield f"`{one.name}`", kind, told.get("unit", ""), _cell(told.get("description", ""))


def list_flags() -> str:
    """Every flag, its bit, and what it means."""
    rows = [(f"`{flag.name}`", str(flag.bit), _cell(flag.description)) for flag in flags.FLAGS]
    text = (
        "The column `flags` of cutouts, images, predictions and releases is the sum of these bits."
    )
    return f"# Flags\n\n{text}\n\n{markdown_table(('flag', 'bit', ''), rows)}\n"


def list_rules() -> str:
    """Every rule of the workflow, by file, from its docstring."""
    lines = ["# Rules", "", "Each rule of the workflow; `snakemake --list` says the same."]
    for path in [WORKFLOW / "Snakefile", *sorted((WORKFLOW / "workflow/rules").glob("*.smk"))]:
        text = path.read_text("utf-8")
        found = re.findall(r'^(?:rule|checkpoint) (\w+):\n    """(.*?)"""', text, re.M | re.S)
        if found:
            title = re.match(r'"""(.*?)"""', text, re.S)
            lines += ["", f"## {path.name}", ""]
            lines += [_cell(title[1]) if title and path.suffix else "Targets.", ""]
            rows = [(f"`{name}`", _cell(told)) for name, told in found]
            lines += [markdown_table(("rule", ""), rows)]
    return "\n".join(lines) + "\n"


def python() -> str:
    """Modules for other programs."""
    modules = "\n".join(f"   galaxymill.{name}" for name in MODULES)
    return (
        "# Python\n\nStages are functions that read files and write one product. These modules may "
        "be called by other programs; the others may change without notice.\n\n"
        "```{eval-rst}\n.. autosummary::\n   :toctree: api\n   :template: module.rst\n\n"
        f"{modules}\n```\n"
    )
