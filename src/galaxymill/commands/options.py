"""Options that several commands have, and settings by name."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from galaxymill.errors import unknown_name
from galaxymill.settings import Settings

Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="a setting named below; repeat --set for each"),
]
Device = Annotated[str, typer.Option(help="auto (cuda where there is one), cpu or cuda")]
VotesFiles = Annotated[
    list[Path], typer.Option("--votes", help="votes.parquet; repeat for several labelled sets")
]
ImagesFiles = Annotated[
    list[Path],
    typer.Option(
        "--images", help="images.csv of a survey, or images.parquet of a folder; repeatable"
    ),
]

DetectabilityFile = Annotated[
    Path | None, typer.Option(help="detectability.parquet: how much of each answer is still seen")
]
View = Annotated[
    str,
    typer.Option(metavar="JSON", help='how it is seen: {"seeing": 1.2, "depth": 23.9}'),
]


def taking(place: str) -> type[TyperCommand]:
    """Make the class of a command whose help ends with the settings that it takes.

    ``place`` is ``module:NAME`` of a class of settings, or of a registry of entries with
    ``settings``; it is imported only for the help.
    """

    class Taking(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            module, name = place.split(":")
            self.epilog = describe_settings(getattr(import_module(f"galaxymill.{module}"), name))
            super().format_help(ctx, formatter)

    return Taking


def describe_settings(source: Any) -> str:
    """List the settings of a class, or those of every entry of a registry."""
    if isinstance(source, type) and issubclass(source, Settings):
        return f"Settings: {', '.join(source.model_fields)}. The page on the config explains each."
    fields = {name: list(entry.settings.model_fields) for name, entry in source.items()}
    shared = set.intersection(*map(set, fields.values()))
    parts = [f"Settings of all: {', '.join(k for k in next(iter(fields.values())) if k in shared)}"]
    for name, keys in fields.items():
        own = ", ".join(key for key in keys if key not in shared)
        parts.append(f"{name}: {own or 'no others'}")
    return "; ".join(parts) + ". The page on the config explains each."


def parse_choice(registry: Any, kind: str, name: str, flags: list[str], command: str) -> Any:
    """Parse the flags of a command as the settings of ``name``, an entry of a registry."""
    if name not in registry:
        raise unknown_name(f"--{kind}", name, registry, kind)
    return registry[name].settings.from_flags(flags, f"{command} --{kind} {name}")
