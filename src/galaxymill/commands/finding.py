"""From embeddings to what is found with them: space, project."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import Device, Sets, taking

app = typer.Typer()

Embeddings = Annotated[Path, typer.Option(help="folder of a prediction's embeddings")]
Predictions = Annotated[Path, typer.Option(help="folder of the same prediction")]


@app.command(cls=taking("spaces.settings:SpaceSettings"))
def space(
    out: Path,
    parts: Annotated[Path, typer.Argument(help="CSV table of the partitions, column part")],
    embeddings: Embeddings,
    predictions: Predictions,
    settings: Sets = [],
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 is torch's default")] = 0,
) -> None:
    """Fit a space of features, and maps, to a sample of embeddings; OUT is space.yaml."""
    import torch

    from galaxymill.spaces.fit import fit_space
    from galaxymill.spaces.settings import SpaceSettings

    if threads:
        torch.set_num_threads(threads)
    chosen = SpaceSettings.from_flags([f"device={device}", *settings], "space")
    fit_space(parts, embeddings, predictions, out, chosen)


@app.command()
def project(
    out: Path,
    embeddings: Annotated[Path, typer.Argument(help="embeddings of one partition")],
    predictions: Annotated[Path, typer.Argument(help="predictions of the same partition")],
    space: Annotated[Path, typer.Option(help="space.yaml")],
) -> None:
    """Give every galaxy of one partition its features and its places on the space's maps."""
    from galaxymill.spaces.project import project as run

    run(embeddings, predictions, space, out)
