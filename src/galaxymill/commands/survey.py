"""From a catalogue to images: download, simulate, ingest, partition, fetch, render, lists."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from galaxymill.commands.options import Sets, parse_choice, taking

app = typer.Typer()


def _pairs(help: str) -> Any:
    """Make an option that is given once for each key."""
    return typer.Option(metavar="KEY=VALUE", help=help)


@app.command()
def download(
    url: str,
    out: Path,
    md5: Annotated[str, typer.Option(help="refuse a file of another MD5")] = "",
    sha256: Annotated[str, typer.Option(help="refuse a file of another SHA-256")] = "",
    bytes: Annotated[int, typer.Option(help="refuse a longer file")] = 10_000_000_000,
) -> None:
    """Bring a published file here, whole and as it is served.

    What broke off goes on where it was, if the server serves ranges.
    """
    from galaxymill.downloads.download import download as run
    from galaxymill.downloads.settings import DownloadSettings

    options = {"url": url, "md5": md5, "sha256": sha256, "bytes": bytes}
    flags = [f"{key}={value}" for key, value in options.items() if value != ""]
    run(DownloadSettings.from_flags(flags, "download"), out)


@app.command(cls=taking("simulation.settings:SimulationSettings"))
def simulate(folder: Path, tree: str, settings: Sets = []) -> None:
    """Make a sky with known truth and simulated volunteers.

    FOLDER receives catalog.parquet, truth.parquet and votes.parquet; TREE is the DECaLS tree:
    decals_dr5, or its path.
    """
    from galaxymill.paths import TREES
    from galaxymill.simulation.settings import SimulationSettings
    from galaxymill.simulation.stage import simulate as run
    from galaxymill.trees.tree import find_tree

    run(folder, find_tree(tree, TREES, "TREE"), SimulationSettings.from_flags(settings, "simulate"))


@app.command(cls=taking("catalog.settings:CatalogSettings"))
def ingest(source: Path, out: Path, settings: Sets = []) -> None:
    """Check a catalogue (CSV, Parquet, FITS) and write it as objects.parquet.

    Settings name the columns: object_id, ra, dec, petro_r50, petro_r90, own_redshift, file_loc, as
    in --set ra=RA --set dec=DEC; keep=a,b,c carries further ones into the release. Pictures without
    positions: --set positions=false. Bad contents are refused with their row.
    """
    from galaxymill.catalog.ingest import ingest as run
    from galaxymill.catalog.settings import CatalogSettings

    run(source, out, CatalogSettings.from_flags(settings, "ingest"))


@app.command()
def partition(
    objects: Path,
    out: Path,
    galaxies_per_partition: Annotated[int, typer.Option(help="at most so many a tile")] = 4000,
) -> None:
    """Cut objects.parquet into HEALPix tiles; OUT is partitions.csv, the tiles lie beside it.

    Tiles that exist keep their members; galaxies that are new form tiles of a new generation.
    """
    from galaxymill.catalog.partition import partition as run

    run(objects, out, galaxies_per_partition)


@app.command(cls=taking("surveys.registry:SERVICES"))
def plan(
    partitions: Path,
    service: Annotated[str, typer.Option(help="a service, as for fetch")],
    settings: Sets = [],
    network: Annotated[list[str], _pairs("limits that requests are counted at")] = [],
    image: Annotated[list[str], _pairs("size and format of the images")] = [],
    predictions: Annotated[
        list[str],
        typer.Option(
            "--prediction",
            metavar="'NAME KEY=VALUE ...'",
            help="a prediction: passes, summary_bytes, embedding_bytes, releases",
        ),
    ] = [],
    rate: Annotated[list[str], _pairs("done in a second here: render, predict, merge")] = [],
) -> None:
    """Count a survey's partitions, jobs, requests, images, hours and bytes before anything runs.

    Hours are those of the rates that are given; docs/BENCHMARKS.md says where the others are
    from, and how to measure yours.
    """
    from galaxymill.images.settings import RecipeSettings
    from galaxymill.planning.plan import plan as run
    from galaxymill.rates import ModelUse, Rates
    from galaxymill.surveys.registry import SERVICES
    from galaxymill.web.network import Network

    chosen = parse_choice(SERVICES, "service", service, settings, "plan")
    uses = {}
    for name, *values in filter(None, map(shlex.split, predictions)):
        uses[name] = ModelUse.from_flags(values, f"--prediction {name}")
    text = run(
        partitions,
        service,
        chosen,
        Network.from_flags(network, "--network"),
        RecipeSettings.from_flags(image, "--image"),
        uses,
        Rates.from_flags(rate, "--rate"),
    )
    typer.echo(text)


@app.command(cls=taking("surveys.registry:SERVICES"))
def fetch(
    tile: Path,
    out: Path,
    service: Annotated[str, typer.Option(help="a service named below")],
    settings: Sets = [],
    network: Annotated[list[str], _pairs("limits; they change no product")] = [],
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="ask again for the failed rows of OUT")
    ] = False,
    retry: Annotated[
        list[str],
        typer.Option(
            metavar="STATUS",
            help="ask again for the rows of OUT of a status: failed, invalid, no_coverage, partial",
        ),
    ] = [],
) -> None:
    """Fetch the cutouts of one tile: one row a galaxy, whatever became of it.

    A job that was killed goes on where it was. With --retry-failed, OUT is a finished product
    (or TILE and OUT are the folders of all of them): only its failed galaxies are asked for;
    with --retry STATUS, once or several times, those of other statuses too.
    """
    from galaxymill.surveys.registry import SERVICES
    from galaxymill.web.network import Network

    limits = Network.from_flags(network, "--network")
    chosen = parse_choice(SERVICES, "service", service, settings, "fetch")
    statuses = [word.strip() for words in retry for word in words.split(",")]
    statuses += ["failed"] * retry_failed
    if statuses:
        from galaxymill.surveys.retry import retry_failed as run_again

        run_again(tile, out, service, chosen, limits, statuses)
        return
    from galaxymill.surveys.fetch import fetch as run

    run(tile, out, service, chosen, limits)


@app.command()
def index_tiles(
    folder: Path,
    out: Path,
    pattern: Annotated[
        str,
        typer.Option(
            help="paths below FOLDER with {tile} and {band}, such as "
            "'*/{tile}/legacysurvey-{tile}-image-{band}.fits.fz'; *, ? and ** as in a shell"
        ),
    ],
    hdu: Annotated[str, typer.Option(help="number or EXTNAME; default: the first image")] = "",
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="leave out files that cannot be used")
    ] = False,
) -> None:
    """Write the table that --service tiles needs, from the headers of the tiles in FOLDER."""
    from galaxymill.surveys.mosaics.tile_index import index_tiles as run

    run(folder, out, pattern, hdu, skip_broken)


@app.command(cls=taking("images.recipes:RECIPES"))
def render(
    cutouts: Path,
    out: Path,
    survey: Annotated[str, typer.Option(help="name of the survey, kept with the images")],
    recipe: Annotated[str, typer.Option(help="a recipe named below")],
    settings: Sets = [],
    threads: Annotated[int, typer.Option(min=1, help="galaxies drawn at a time")] = 1,
    sight: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE",
            help="how well the survey shows the sky: seeing and depth (JSON by band), pixel_scale "
            "in arcsec and size in pixels of a cutout; kept with the images",
        ),
    ] = [],
) -> None:
    """Render the images of one partition's cutouts, with quality flags."""
    from galaxymill.images.domains import Sight
    from galaxymill.images.recipes import RECIPES
    from galaxymill.images.render import render as run

    chosen = parse_choice(RECIPES, "recipe", recipe, settings, "render")
    seen = Sight.from_flags(sight, "render --sight") if sight else None
    run(cutouts, out, survey, recipe, chosen, threads, seen)


@app.command()
def list_images(partitions: Path, folder: Path, out: Path) -> None:
    """List a survey's images products, one FOLDER/{part}.parquet a partition, as a CSV table."""
    from galaxymill.images.index import list_images as run

    run(partitions, folder, out)


@app.command()
def describe_images(
    out: Path,
    survey: Annotated[str, typer.Option(help="name of the survey")],
    cutouts: Annotated[str, typer.Option(help="service and settings, as fetch takes them")],
    images: Annotated[str, typer.Option(help="recipe and settings, as render takes them")],
    versions: Annotated[str, typer.Option(help="versions of the code that makes them")],
) -> None:
    """Write down how a survey's images are made; models that learned from others are retrained."""
    from galaxymill.images.index import describe_images as run

    run(out, survey, cutouts, images, versions)
