"""From a model to a catalogue, and the catalogue beside others: predict to compare."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import DetectabilityFile, Device, Sets, View, taking
from galaxymill.errors import UserError

app = typer.Typer()


@app.command(cls=taking("inference.settings:PredictSettings"))
def predict(
    images: Path,
    model: Annotated[Path, typer.Option(help="model.yaml, or the folder that holds it")],
    out: Annotated[Path, typer.Option(help="the predictions")],
    embeddings: Annotated[Path | None, typer.Option(help="the encoder's features too")] = None,
    settings: Sets = [],
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all there are")] = 0,
) -> None:
    """Predict the posterior morphology of every galaxy of one partition.

    One row an image, in the same order, whatever became of it. A job that was killed goes on
    where it was.
    """
    from galaxymill.inference.predict import predict as run
    from galaxymill.inference.settings import PredictSettings

    flags = [f"device={device}", f"precision={precision}", *settings]
    run(images, model, out, embeddings, PredictSettings.from_flags(flags, "predict"), threads)


@app.command(cls=taking("detectability.settings:DetectabilitySettings"))
def detectability(
    out: Path,
    objects: Annotated[Path, typer.Option(help="objects.parquet of the near survey")],
    near: Annotated[
        Path, typer.Option(help="folder of a prediction; or votes.parquet of a labelled set")
    ],
    far: Annotated[list[Path], typer.Option(help="folder of a prediction farther away")],
    far_partitions: Annotated[
        list[Path], typer.Option(help="partitions.csv of the survey of each far prediction")
    ],
    view: Annotated[
        list[str],
        typer.Option(metavar="JSON", help='of each: {"seeing": 1.2, "depth": 23.9, "farther": 2}'),
    ],
    partitions: Annotated[
        Path | None, typer.Option(help="partitions.csv of the near survey, of a prediction")
    ] = None,
    settings: Sets = [],
) -> None:
    """Learn how much of each answer is still seen of smaller, fainter, farther galaxies.

    OUT is detectability.parquet, with report.html beside it. --far, --far-partitions and --view
    are repeated together.
    """
    from galaxymill.detectability.fit import Far, Request, fit_detectability
    from galaxymill.detectability.settings import DetectabilitySettings

    chosen = DetectabilitySettings.from_flags(settings, "detectability")
    fit_detectability(
        Request(objects, near, partitions, Far.of(far, far_partitions, view), chosen), out
    )


@app.command(cls=taking("release.settings:ReleaseSettings"))
def release(
    partitions: Path,
    out: Path,
    name: Annotated[str, typer.Option(help="name of the release")],
    cutouts: Annotated[Path, typer.Option(help="folder, one file a partition")],
    images: Annotated[Path, typer.Option(help="folder, one file a partition")],
    predictions: Annotated[
        list[Path], typer.Option(help="folder, one file a partition; its name is the prediction's")
    ],
    models: Annotated[
        list[Path], typer.Option("--model", help="model.yaml of each that predicted")
    ],
    metrics: Annotated[list[Path], typer.Option(help="metrics.json of the models")] = [],
    features: Annotated[
        list[Path], typer.Option(help="folder, one file a partition, of a space with maps")
    ] = [],
    rated: Annotated[
        list[Path], typer.Option(help="folder, one file a partition; its name is the interest's")
    ] = [],
    detectability: DetectabilityFile = None,
    view: View = "",
    run: Annotated[Path | None, typer.Option(help="config.yaml of record-run")] = None,
    benchmarks: Annotated[Path | None, typer.Option(help="folder of Snakemake's")] = None,
    settings: Sets = [],
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 2,
) -> None:
    """Merge a survey's products into a release; OUT is its SHA256SUMS, written last.

    --predictions, --model and --metrics may be repeated: which model and which evaluation a
    prediction has is found by what the files say. Refuses when a galaxy is missing, twice or
    unknown, or products are not of one making.
    """
    from galaxymill.release.merge import Request, merge_release
    from galaxymill.release.settings import ReleaseSettings

    request = Request(
        name=name,
        partitions=partitions,
        objects=partitions.parent / "objects.parquet",
        tiles=partitions.parent / "tiles",
        cutouts=cutouts,
        images=images,
        predictions=tuple(predictions),
        models=tuple(models),
        out=out,
        settings=ReleaseSettings.from_flags(settings, "release"),
        metrics=tuple(metrics),
        spaces=tuple(features),
        interests=tuple(rated),
        detectability=detectability,
        view=view,
        run=run,
        benchmarks=benchmarks,
        threads=threads,
    )
    merge_release(request)


@app.command()
def record_run(
    out: Path,
    release: Annotated[str, typer.Option(help="name of the release")],
    config: Annotated[str, typer.Option(help="its part of the config, as JSON")],
    workflow: Annotated[Path, typer.Option(help="folder of the Snakefile")],
) -> None:
    """Write down what a release is made from; OUT is its config.yaml, written last.

    Beside it: the user's files by their sha256, the rules, and their graph.
    """
    from galaxymill.reproduction.run import record_run as run

    run(config, release, workflow, out)


@app.command()
def reproduce(
    release: Path,
    work: Annotated[Path, typer.Option(help="folder to run the workflow in")],
    inputs: Annotated[
        Path | None, typer.Option(help="folder of the files that provenance/inputs.json names")
    ] = None,
    cores: Annotated[int, typer.Option(min=0, help="CPU cores; 0: all there are")] = 0,
    tolerance: Annotated[float, typer.Option(min=0, help="of numbers")] = 0.0,
) -> None:
    """Make a release again from its own provenance, and compare the two.

    Ids, flags and every other column: prints a table of differences, and ends with 0 when
    there are none beyond the tolerance, else with 1. What WORK holds already is taken over.
    """
    from galaxymill.reproduction.reproduce import reproduce as run

    if not run(release, work, inputs, cores, tolerance):
        raise typer.Exit(1)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="a release, a HATS folder, or Parquet, CSV, FITS")],
    b: Annotated[Path, typer.Argument(help="the same")],
    on: Annotated[
        str | None, typer.Option(help="column of the identifier; default: the layouts' object_id")
    ] = None,
    sky: Annotated[
        str | None, typer.Option(metavar="RADIUS", help="match positions: 1arcsec")
    ] = None,
    columns: Annotated[
        Path | None, typer.Option("--map", help="YAML, a line a pair: 'column of A: column of B'")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for comparison.json, tables and plots")
    ] = None,
    layout_a: Annotated[str | None, typer.Option(help="of A, if its columns fit several")] = None,
    layout_b: Annotated[str | None, typer.Option(help="of B, if its columns fit several")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="workers of dask: tcp://node:8786; default: local"),
    ] = None,
) -> None:
    """Compare two morphology catalogues, ours or published, column by column.

    Galaxies are matched by identifier or, with --sky, by position, each once. Vote fractions of
    the same name are compared, and what --map pairs. HATS catalogues are read tile by tile, by
    workers of dask. Layouts: galaxymill, gz_desi, gz_decals, euclid_q1, gz2. Its page in
    the documentation explains each number.
    """
    from galaxymill.comparison.compare import compare as run

    typer.echo(run(a, b, on, sky, columns, out, (layout_a, layout_b), scheduler))


@app.command()
def compare_domains(
    a: Annotated[Path, typer.Argument(help="images of a survey: a product, or a folder of them")],
    b: Annotated[Path, typer.Argument(help="images of another survey, drawn in the same bands")],
    out: Annotated[Path, typer.Option(help="folder for comparison.json and index.html")],
    features: Annotated[
        list[Path],
        typer.Option(help="embeddings or features of A, then of B, by one model: give it twice"),
    ] = [],
    most: Annotated[int, typer.Option(min=20, help="galaxies of each survey")] = 1000,
) -> None:
    """Say what differs between the images of two surveys, and whether galaxies show it.

    Hand features (sky noise and its correlation, size, concentration, asymmetry, colours) are
    measured on the images; a classifier learns to tell the surveys apart. A and B may be
    embeddings or features themselves; then only these are compared.
    """
    from galaxymill.domains.compare import compare_domains as run

    if len(features) not in (0, 2):
        raise UserError(
            f"--features: given {len(features)} times; give it for A and for B, or not at all"
        )
    typer.echo(run(a, b, out, (features[0], features[1]) if features else None, most))
