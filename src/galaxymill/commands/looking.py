"""From a release to a page to look at it: slices, the explorer, and opening it."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import DetectabilityFile, Sets, View, taking

app = typer.Typer()

Folder = typer.Option(help="folder, one file a partition")
Spaces = Annotated[
    list[Path], typer.Option(help="folder, one file a partition; its name is the space's")
]
ModelFiles = Annotated[
    list[Path], typer.Option("--model", help="model.yaml of each that predicted")
]


@app.command(cls=taking("explorer.settings:ExplorerSettings"))
def explore_partition(
    part: str,
    partitions: Path,
    out: Path,
    cutouts: Annotated[Path, Folder],
    images: Annotated[Path, Folder],
    predictions: Annotated[
        list[Path], typer.Option(help="folder, one file a partition; its name is the prediction's")
    ],
    models: ModelFiles,
    features: Spaces = [],
    rated: Annotated[
        list[Path], typer.Option(help="folder, one file a partition; its name is the interest's")
    ] = [],
    detectability: DetectabilityFile = None,
    view: View = "",
    shown: Spaces = [],
    settings: Sets = [],
    release: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="selections, friendly_cut of the release")
    ] = [],
) -> None:
    """Make one partition's slice of an explorer: one row a galaxy, coded, with a thumbnail."""
    from galaxymill.explorer.settings import ExplorerSettings
    from galaxymill.explorer.slices import SliceRequest
    from galaxymill.explorer.slices import explore_partition as run
    from galaxymill.release.settings import ReleaseSettings

    request = SliceRequest(
        part=part,
        partitions=partitions,
        objects=partitions.parent / "objects.parquet",
        cutouts=cutouts,
        images=images,
        predictions=tuple(predictions),
        models=tuple(models),
        features=tuple(features),
        rated=tuple(rated),
        detectability=detectability,
        view=view,
        shown=tuple(shown),
        release=ReleaseSettings.from_flags(release, "explore-partition --release"),
        settings=ExplorerSettings.from_flags(settings, "explore-partition"),
    )
    run(request, out)


@app.command(cls=taking("explorer.settings:ExplorerSettings"))
def build_explorer(
    release: Annotated[Path, typer.Argument(help="SHA256SUMS of the release")],
    partitions: Path,
    slices: Annotated[Path, typer.Argument(help="folder, one file a partition")],
    out: Path,
    models: ModelFiles,
    metrics: Annotated[list[Path], typer.Option(help="metrics.json of the models")] = [],
    settings: Sets = [],
) -> None:
    """Join the slices of a release into an explorer; OUT is its index.html, written last."""
    from galaxymill.explorer.build import BuildRequest
    from galaxymill.explorer.build import build_explorer as run
    from galaxymill.explorer.settings import ExplorerSettings

    chosen = ExplorerSettings.from_flags(settings, "build-explorer")
    run(BuildRequest(release, partitions, slices, tuple(models), tuple(metrics), out, chosen))


@app.command()
def explore(folder: Annotated[Path, typer.Argument(help="results/explorers/NAME")]) -> None:
    """Open an explorer in the browser; prints its address."""
    import webbrowser

    from galaxymill.errors import UserError

    page = folder / "index.html"
    if not page.is_file():
        raise UserError(f"{page}: no such file; make it with the target explorers")
    typer.echo(page.resolve().as_uri())
    webbrowser.open(page.resolve().as_uri())
