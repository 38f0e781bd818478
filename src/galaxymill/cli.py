"""The command line: one command a stage. Imports stand inside the commands, to start fast."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from galaxymill.errors import UserError, unknown_name
from galaxymill.images.commands import app as images_app

app = typer.Typer(
    name="galaxymill",
    help=(
        "From a sky survey to a catalogue of galaxy morphology.\n\n"
        "Each command is one stage: it reads files, writes one product atomically, and knows "
        "nothing of the workflow. Snakemake decides when to call which; see ARCHITECTURE.md. "
        "Stages in order: ingest, partition, fetch, render, labels, train, evaluate, predict, "
        "release."
    ),
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(images_app, name="images")


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="print the version and end")] = False,
) -> None:
    if version:
        from galaxymill import __version__

        typer.echo(f"galaxymill {__version__}")
        raise typer.Exit


Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="a setting named above; repeat --set for each"),
]
Device = Annotated[str, typer.Option(help="auto (cuda where there is one), cpu or cuda")]
Parts = Annotated[Path | None, typer.Option(help="images.csv, when IMAGES is a survey's folder")]


def _settings_of(module: str, name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(f"galaxymill.{module}"), name)


def _chosen(registry: Any, kind: str, name: str) -> Any:
    if name not in registry:
        raise unknown_name(f"--{kind}", name, registry, kind)
    return registry[name].settings


def _image_files(images: Path, partitions: Path | None) -> list[Path]:
    """Images of a labelled folder are one file, those of a survey one per partition."""
    if partitions is None:
        return [images]
    from galaxymill.catalog.names import part_names

    return [images / f"{part}.parquet" for part in part_names(partitions)]


@app.command()
def simulate(folder: Path, tree: Path, settings: Sets = []) -> None:  # noqa: B006
    """Make a sky with known truth and simulated volunteers.

    FOLDER receives catalog.parquet, truth.parquet and votes.parquet; TREE is the DECaLS tree.
    Settings: n_galaxies, seed, votes_per_galaxy, labelled.
    """
    from galaxymill.simulation.stage import simulate as run

    model = _settings_of("simulation.settings", "SimulationSettings")
    run(folder, tree, model.from_flags(settings, "simulate"))


@app.command()
def ingest(source: Path, out: Path, settings: Sets = []) -> None:  # noqa: B006
    """Check a catalogue (CSV, Parquet, FITS) and write it as objects.parquet.

    Settings name the columns: object_id, ra, dec, petro_r50, petro_r90, file_loc, as in --set ra=RA
    --set dec=DEC; keep=a,b,c carries further ones into the release. Bad contents are refused with
    their row.
    """
    from galaxymill.catalog.ingest import ingest as run

    run(
        source,
        out,
        _settings_of("catalog.settings", "CatalogSettings").from_flags(settings, "ingest"),
    )


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


@app.command()
def fetch(
    tile: Path,
    out: Path,
    service: Annotated[str, typer.Option(help="config/README.md lists services and settings")],
    settings: Sets = [],  # noqa: B006
    network: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="limits; they change no product")
    ] = [],  # noqa: B006
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="ask again for the failed rows of OUT")
    ] = False,
) -> None:
    """Fetch the cutouts of one tile: one row a galaxy, whatever became of it.

    A job that was killed goes on where it was. With --retry-failed, OUT is a finished product
    (or TILE and OUT are the folders of all of them): only its failed galaxies are asked for.
    Common settings: pixel_scale (arcsec/pixel, or gz_decals), size, bands, footprint. Limits:
    requests_per_second, connections, timeout_s, attempts, stop_after, contact.
    """
    from galaxymill.surveys.base import Network
    from galaxymill.surveys.registry import SERVICES

    model = _chosen(SERVICES, "service", service)
    limits = Network.from_flags(network, "--network")
    chosen = model.from_flags(settings, f"fetch --service {service}")
    if retry_failed:
        from galaxymill.surveys.retry import retry_failed as run
    else:
        from galaxymill.surveys.fetch import fetch as run
    run(tile, out, service, chosen, limits)


@app.command()
def render(
    cutouts: Path,
    out: Path,
    survey: Annotated[str, typer.Option(help="name of the survey, kept with the images")],
    recipe: Annotated[str, typer.Option(help="asinh, decals, euclid, hsc, lupton or passthrough")],
    settings: Sets = [],  # noqa: B006
    threads: Annotated[int, typer.Option(min=1, help="galaxies drawn at a time")] = 1,
) -> None:
    """Render the images of one partition's cutouts, with quality flags.

    Common settings: size, format (jpeg, png, webp), quality; but for passthrough also reproject
    and fill. decals and lupton: red, green, blue (names of bands). lupton: stretch, q, minimum.
    asinh, euclid, hsc: bands (blue to red), scales, percentile.
    """
    from galaxymill.images.recipes import RECIPES
    from galaxymill.images.render import render as run

    model = _chosen(RECIPES, "recipe", recipe)
    chosen = model.from_flags(settings, f"render --recipe {recipe}")
    run(cutouts, out, survey, recipe, chosen, threads)


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


@app.command()
def labels(
    source: Path,
    tree: Path,
    out: Path,
    object_id: Annotated[str, typer.Option(help="column of the identifier")] = "object_id",
    settings: Sets = [],  # noqa: B006
) -> None:
    """Check a table of votes (one whole-number column per answer of TREE) and split it.

    Settings: train, val, test (shares) and salt.
    """
    from galaxymill.votes.labels import collect_labels as run
    from galaxymill.votes.splits import SplitSettings

    run(source, tree, out, object_id, SplitSettings.from_flags(settings, "labels"))


@app.command()
def label_images(
    source: Path,
    folder: Path,
    out: Path,
    name: Annotated[str, typer.Option(help="name of the labelled set, kept with the images")],
    object_id: Annotated[str, typer.Option(help="column of the identifier")] = "object_id",
    settings: Sets = [],  # noqa: B006
) -> None:
    """Gather the images that SOURCE's column file_loc names, from FOLDER, into one product.

    Settings: size, format (jpeg, png, webp), quality.
    """
    from galaxymill.images.settings import RecipeSettings
    from galaxymill.votes.images import collect_images as run

    model = RecipeSettings.from_flags(settings, "label-images")
    run(source, folder, out, name, object_id, model)


@app.command()
def train(
    votes: Path,
    images: Path,
    out: Path,
    partitions: Parts = None,
    settings: Sets = [],  # noqa: B006
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 is torch's default")] = 0,
) -> None:
    """Train a model on VOTES and IMAGES; OUT is model.yaml, the weights lie beside it.

    Settings: encoder (any timm name), pretrained, image_size, zoom, views, epochs, batch_size,
    learning_rate, weight_decay, dropout, concentrations, seed.
    """
    from galaxymill.training.train import train as run

    model = _settings_of("models.settings", "TrainSettings")
    run(
        votes,
        _image_files(images, partitions),
        out,
        model.from_flags(settings, "train"),
        device,
        threads,
    )


@app.command()
def evaluate(
    votes: Path,
    images: Path,
    model: Path,
    out: Path,
    partitions: Parts = None,
    samples: Annotated[int, typer.Option(help="Monte-Carlo dropout samples")] = 5,
) -> None:
    """Compare MODEL with the volunteers' votes on the test split; OUT is metrics.json.

    Tables, plots and the page report.html are written beside it.
    """
    from galaxymill.evaluation.evaluate import evaluate as run

    run(votes, _image_files(images, partitions), model, out, samples)


@app.command()
def predict(
    images: Path,
    model: Path,
    out: Path,
    embeddings: Path,
    settings: Sets = [],  # noqa: B006
    device: Device = "auto",
) -> None:
    """Predict the posterior morphology of every galaxy of one partition.

    Settings: samples (Monte-Carlo dropout), allow_domain_shift.
    """
    from galaxymill.inference.predict import predict as run

    chosen = _settings_of("inference.settings", "PredictSettings")
    run(images, model, out, embeddings, chosen.from_flags(settings, "predict"), device)


@app.command()
def release(
    partitions: Path,
    out: Path,
    name: Annotated[str, typer.Option(help="name of the release")],
    cutouts: Annotated[Path, typer.Option(help="folder, one file a partition")],
    images: Annotated[Path, typer.Option(help="folder, one file a partition")],
    predictions: Annotated[Path, typer.Option(help="folder, one file a partition")],
    model: Annotated[Path, typer.Option(help="model.yaml")],
    metrics: Annotated[Path | None, typer.Option(help="metrics.json of the model")] = None,
    galaxies_per_tile: Annotated[int, typer.Option(help="at most so many a HATS tile")] = 100_000,
) -> None:
    """Merge a survey's products into a release; OUT is its SHA256SUMS, written last.

    Refuses when a galaxy is missing, twice or unknown, or products are not of one making.
    """
    from galaxymill.release.merge import merge_release

    tiles = partitions.parent / "tiles"
    merge_release(
        partitions,
        tiles,
        cutouts,
        images,
        predictions,
        model,
        metrics,
        out,
        name,
        galaxies_per_tile,
    )


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


@app.command()
def plan(
    partitions: Path,
    service: Annotated[str, typer.Option(help="a service, as for fetch")],
    settings: Sets = [],  # noqa: B006
    network: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="limits the time is counted at")
    ] = [],  # noqa: B006
) -> None:
    """Count partitions, requests, bytes and hours of a survey before anything is asked."""
    from galaxymill.surveys.base import Network
    from galaxymill.surveys.plan import plan as run
    from galaxymill.surveys.registry import SERVICES

    model = _chosen(SERVICES, "service", service)
    limits = Network.from_flags(network, "--network")
    typer.echo(run(partitions, service, model.from_flags(settings, "plan"), limits))


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2."""
    # OpenMP threads that spin while they wait starve each other when cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("galaxymill").setLevel(logging.INFO)
    logging.getLogger("stamina").setLevel(logging.ERROR)
    try:
        app()
    except UserError as error:
        typer.echo(f"galaxymill: {error}", err=True)
        raise SystemExit(2) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
