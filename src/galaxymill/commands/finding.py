"""From embeddings to what is found with them: space, project, map, similar."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import Device, Sets, taking

app = typer.Typer()

Embeddings = Annotated[Path, typer.Option(help="folder of a prediction's embeddings")]
Predictions = Annotated[Path, typer.Option(help="folder of the same prediction")]


@app.command()
def describe_embeddings(
    out: Path,
    model: Annotated[Path, typer.Option(help="model.yaml")],
    settings: Annotated[str, typer.Option(help="of the prediction, that embeddings depend on")],
    versions: Annotated[str, typer.Option(help="versions of the code that makes them")],
) -> None:
    """Write down what embeddings depend on; spaces of others are fitted anew."""
    from galaxymill.spaces.fit import describe_embeddings as run

    run(out, model, settings, versions)


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


@app.command(name="map")
def map_(
    out: Path,
    parts: Annotated[Path, typer.Argument(help="CSV table of the partitions, column part")],
    features: Annotated[Path, typer.Option(help="folder of the space's features")],
    predictions: Annotated[Path, typer.Option(help="folder of the space's prediction")],
    images: Annotated[Path, typer.Option(help="folder of the survey's images")],
    catalog: Annotated[Path, typer.Option(help="objects.parquet of the survey")],
    space: Annotated[Path, typer.Option(help="space.yaml")],
) -> None:
    """Show the maps of a space on a page; OUT is report.html, its pictures lie beside it."""
    from galaxymill.spaces.report import MapSources, report_maps

    report_maps(space, MapSources(parts, features, predictions, images, catalog), out)


@app.command(cls=taking("search.settings:SearchSettings"))
def similar(
    out: Path,
    space: Annotated[Path, typer.Option(help="space.yaml")],
    to: Annotated[
        list[str], typer.Option(help="an object_id, repeatable, or a table with that column")
    ] = [],
    image: Annotated[list[Path], typer.Option(help="an image from elsewhere; repeatable")] = [],
    position: Annotated[
        tuple[float, float] | None, typer.Option(help="RA DEC in degrees, of a galaxy")
    ] = None,
    table: Annotated[Path | None, typer.Option(help="a table with the column object_id")] = None,
    count: Annotated[int, typer.Option("-k", "--count", help="galaxies to find")] = 1000,
    where: Annotated[str, typer.Option(help="SQL condition over columns of the predictions")] = "",
    whiten: Annotated[bool, typer.Option("--whiten", help="count each component alike")] = False,
    distinct: Annotated[str, typer.Option(help="arcsec within which two count as one")] = "0",
    column: Annotated[list[str], typer.Option(help="a column to write too; repeatable")] = [],
    features: Annotated[Path | None, typer.Option(help="folder; default: the space's")] = None,
    predictions: Annotated[Path | None, typer.Option(help="folder, likewise")] = None,
    tiles: Annotated[Path | None, typer.Option(help="folder, likewise")] = None,
    images: Annotated[Path | None, typer.Option(help="folder, likewise")] = None,
    model: Annotated[Path | None, typer.Option(help="model.yaml, for --image; likewise")] = None,
) -> None:
    """Find the galaxies most like some others; OUT is a CSV table, sheets of the first hundred lie
    beside it (.png, .html).

    Say what to look for by one of --to, --image and --position. Where the workflow made the space,
    its products are found beside it.
    """
    from dataclasses import replace

    from galaxymill.search.folders import folders_of
    from galaxymill.search.search import Search
    from galaxymill.search.settings import SearchSettings

    if len(to) == 1 and Path(to[0]).suffix and Path(to[0]).is_file():
        to, table = [], Path(to[0])
    asked = {"to": to, "table": table, "image": image, "position": position}
    chosen = {
        "count": count,
        "where": where,
        "whiten": whiten,
        "distinct": distinct,
        "columns": column,
    }
    settings = SearchSettings.parse(asked | chosen, "similar")
    named = {"features": features, "predictions": predictions, "tiles": tiles, "images": images}
    folders = replace(folders_of(space), **{k: path for k, path in named.items() if path})
    rows = Search(space, folders, settings, model).run(out)
    typer.echo(f"{len(rows)} galaxies in {out}")
