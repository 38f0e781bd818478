"""Options that several commands have, and settings by name."""

from pathlib import Path
from typing import Annotated, Any

import typer

from galaxymill.errors import unknown_name

Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="a setting named above; repeat --set for each"),
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


def chosen_settings(registry: Any, kind: str, name: str) -> Any:
    """Give the settings of a member of a registry, or say what the option allows."""
    if name not in registry:
        raise unknown_name(f"--{kind}", name, registry, kind)
    return registry[name].settings
