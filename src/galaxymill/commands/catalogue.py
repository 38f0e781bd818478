"""From a model to a catalogue: predict, release."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import Device, Sets

app = typer.Typer()


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
    from galaxymill.inference.settings import PredictSettings

    flags = [f"device={device}", f"precision={precision}", *settings]
    run(images, model, out, embeddings, PredictSettings.from_flags(flags, "predict"), threads)


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
