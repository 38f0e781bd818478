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
VotesFiles = Annotated[
    list[Path], typer.Option("--votes", help="votes.parquet; repeat for several labelled sets")
]
ImagesFiles = Annotated[
    list[Path],
    typer.Option(
        "--images", help="images.csv of a survey, or images.parquet of a folder; repeatable"
    ),
]


def _settings_of(module: str, name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(f"galaxymill.{module}"), name)


def _chosen(registry: Any, kind: str, name: str) -> Any:
    if name not in registry:
        raise unknown_name(f"--{kind}", name, registry, kind)
    return registry[name].settings


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
    out: Path,
    sources: Annotated[list[Path], typer.Argument(help="files of one format; they add up")],
    kind: Annotated[str, typer.Option("--format", help="docs/labels.md shows each")] = "counts",
    tree: Annotated[Path | None, typer.Option(help="the tree that was asked")] = None,
    settings: Sets = [],  # noqa: B006
    split: Annotated[list[str], typer.Option(help="KEY=VALUE: train, val, test, salt")] = [],  # noqa: B006
    check: Annotated[list[str], typer.Option(help="KEY=VALUE: parents, absolute, relative")] = [],  # noqa: B006
) -> None:
    """Check labels and split them; OUT is votes.parquet.

    Beside it, sources.parquet tells what each file says and dropped.csv what was left out.
    Formats: counts, fractions, gz2, gz_decals, panoptes, classes, number. Settings of all:
    object_id, ra, dec. counts, fractions, gz_decals: columns. classes, number: column. classes:
    classes. panoptes: tasks, retired, already_seen.
    """
    from galaxymill.votes.checks import CheckSettings
    from galaxymill.votes.formats import FORMATS
    from galaxymill.votes.labels import LabelSettings, collect_labels
    from galaxymill.votes.splits import SplitSettings

    own = _chosen(FORMATS, "format", kind).from_flags(settings, f"labels --format {kind}")
    splits = SplitSettings.from_flags(split, "--split")
    checks = CheckSettings.from_flags(check, "--check")
    collect_labels(sources, tree, out, LabelSettings(kind, own, splits, checks))


@app.command()
def label_images(
    out: Path,
    folder: Path,
    sources: Annotated[list[Path], typer.Argument(help="the files of labels")],
    name: Annotated[str, typer.Option(help="name of the labelled set, kept with the images")],
    object_id: Annotated[str, typer.Option(help="column of the identifier")] = "object_id",
    settings: Sets = [],  # noqa: B006
) -> None:
    """Gather the images that the column file_loc of SOURCES names, from FOLDER, into one product.

    Settings: size, format (jpeg, png, webp), quality.
    """
    from galaxymill.images.settings import RecipeSettings
    from galaxymill.votes.images import collect_images as run

    model = RecipeSettings.from_flags(settings, "label-images")
    run(sources, folder, out, name, object_id, model)


@app.command()
def train(
    out: Path,
    votes: VotesFiles,
    images: ImagesFiles,
    settings: Sets = [],  # noqa: B006
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 is torch's default")] = 0,
    tensorboard: Annotated[Path | None, typer.Option(help="folder for TensorBoard")] = None,
) -> None:
    """Train a model; OUT is model.yaml, the weights and history.csv lie beside it.

    A training that was killed goes on after its last epoch. Settings: encoder (any timm name),
    weights, trainable, image_size, zoom, views, epochs, batch_size, learning_rate, dropout,
    members, seed and more: config/README.md explains each.
    """
    from galaxymill.training.train import Resources
    from galaxymill.training.train import train as run

    model = _settings_of("models.settings", "TrainSettings")
    chosen = model.from_flags(settings, "train")
    resources = Resources(device=device, threads=threads, tensorboard=tensorboard)
    run(votes, images, out, chosen, resources)


@app.command()
def evaluate(
    out: Path,
    votes: VotesFiles,
    images: ImagesFiles,
    model: Annotated[Path, typer.Option(help="model.yaml")],
    samples: Annotated[int, typer.Option(min=1, help="Monte-Carlo dropout samples")] = 5,
    catalog: Annotated[list[Path], typer.Option(help="objects.parquet; repeatable")] = [],  # noqa: B006
    truth: Annotated[Path | None, typer.Option(help="truth.parquet of a simulated sky")] = None,
    split: Annotated[str, typer.Option(help="test, val, or all of labels kept apart")] = "test",
    train: Annotated[
        list[Path], typer.Option(help="with --split all: votes.parquet for the baselines")
    ] = [],  # noqa: B006
) -> None:
    """Compare a model with labels of galaxies it has not learned from; OUT is metrics.json.

    Tables, plots and the page report.html lie beside it; docs/evaluation.md explains each number.
    """
    from galaxymill.evaluation.evaluate import evaluate as run

    run(votes, images, model, out, samples, catalog, truth, split, train)


@app.command()
def predict(
    images: Path,
    model: Annotated[Path, typer.Option(help="model.yaml, or the folder that holds it")],
    out: Annotated[Path, typer.Option(help="the predictions")],
    embeddings: Annotated[Path | None, typer.Option(help="the encoder's features too")] = None,
    settings: Sets = [],  # noqa: B006
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all there are")] = 0,
) -> None:
    """Predict the posterior morphology of every galaxy of one partition.

    One row an image, in the same order, whatever became of it. A job that was killed goes on
    where it was. Settings: samples (Monte-Carlo dropout), views, keep_views, keep (samples,
    embeddings), unfit, allow_domain_shift, batch_size, compile.
    """
    from galaxymill.inference.predict import predict as run

    where = [f"device={device}", f"precision={precision}"]
    chosen = _settings_of("inference.settings", "PredictSettings")
    run(images, model, out, embeddings, chosen.from_flags([*where, *settings], "predict"), threads)


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
