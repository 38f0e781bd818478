"""From votes to a model: labels, train, encoder, evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import (
    Device,
    ImagesFiles,
    Sets,
    VotesFiles,
    parse_choice,
    taking,
)

app = typer.Typer()


@app.command(cls=taking("labels.formats:FORMATS"))
def labels(
    out: Path,
    sources: Annotated[list[Path], typer.Argument(help="files of one format; they add up")],
    kind: Annotated[
        str,
        typer.Option("--format", help="how the table is laid out: the page on labels shows each"),
    ] = "counts",
    tree: Annotated[
        str | None, typer.Option(help="the tree that was asked: a name, such as gz2, or a path")
    ] = None,
    settings: Sets = [],
    split: Annotated[list[str], typer.Option(help="KEY=VALUE: train, val, test, salt")] = [],
    check: Annotated[
        list[str], typer.Option(help="KEY=VALUE: parents, absolute, relative, lost")
    ] = [],
    catalog: Annotated[
        Path | None, typer.Option(help="objects.parquet that must have some of the galaxies")
    ] = None,
) -> None:
    """Check labels and split them; OUT is votes.parquet.

    Beside it, sources.parquet holds the labels of each file and dropped.csv what was left out.
    """
    from galaxymill.labels.collect import LabelSettings, collect_labels
    from galaxymill.labels.formats import FORMATS
    from galaxymill.paths import TREES
    from galaxymill.splits import SplitSettings
    from galaxymill.tasks.checks import CheckSettings
    from galaxymill.trees.tree import find_tree

    own = parse_choice(FORMATS, "format", kind, settings, "labels")
    splits = SplitSettings.from_flags(split, "--split")
    checks = CheckSettings.from_flags(check, "--check")
    path = None if tree is None else find_tree(tree, TREES, "--tree")
    collect_labels(sources, path, out, LabelSettings(kind, own, splits, checks), catalog)


@app.command(cls=taking("images.settings:PassthroughSettings"))
def label_images(
    out: Path,
    folder: Path,
    sources: Annotated[list[Path], typer.Argument(help="the files of labels")],
    name: Annotated[str, typer.Option(help="name of the labelled set, kept with the images")],
    object_id: Annotated[str, typer.Option(help="column of the identifier")] = "object_id",
    settings: Sets = [],
) -> None:
    """Gather the images that column file_loc of SOURCES names, from FOLDER, into one product."""
    from galaxymill.images.settings import PassthroughSettings
    from galaxymill.labels.images import collect_images as run

    model = PassthroughSettings.from_flags(settings, "label-images")
    run(sources, folder, out, name, object_id, model)


@app.command(cls=taking("models.settings:TrainSettings"))
def train(
    out: Path,
    votes: VotesFiles,
    images: ImagesFiles,
    settings: Sets = [],
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 is torch's default")] = 0,
    tensorboard: Annotated[Path | None, typer.Option(help="folder for TensorBoard")] = None,
) -> None:
    """Train a model; OUT is model.yaml, the weights and history.csv lie beside it.

    A training that was killed goes on after its last epoch.
    """
    from galaxymill.models.settings import TrainSettings
    from galaxymill.training.train import Resources
    from galaxymill.training.train import train as run

    chosen = TrainSettings.from_flags([f"device={device}", *settings], "train")
    resources = Resources(threads=threads, tensorboard=tensorboard)
    run(votes, images, out, chosen, resources)


@app.command(cls=taking("models.settings:LoneEncoderSettings"))
def encoder(out: Path, settings: Sets = []) -> None:
    """Take an encoder as it was published for a model of embeddings; OUT is model.yaml."""
    from galaxymill.models.alone import take_encoder
    from galaxymill.models.settings import LoneEncoderSettings

    take_encoder(out, LoneEncoderSettings.from_flags(settings, "encoder"))


@app.command(cls=taking("inference.settings:PredictSettings"))
def evaluate(
    out: Path,
    votes: VotesFiles,
    images: ImagesFiles,
    model: Annotated[Path, typer.Option(help="model.yaml")],
    settings: Sets = [],
    catalog: Annotated[list[Path], typer.Option(help="objects.parquet; repeatable")] = [],
    truth: Annotated[Path | None, typer.Option(help="truth.parquet of a simulated sky")] = None,
    split: Annotated[
        str,
        typer.Option(help="test, val, folds, all (of labels kept apart); empty: folds or test"),
    ] = "",
    train: Annotated[
        list[Path], typer.Option(help="with --split all: votes.parquet for the baselines")
    ] = [],
    features: Annotated[
        Path | None, typer.Option(help="of a probe: features.csv, as galaxymill probe takes it")
    ] = None,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 is torch's default")] = 0,
) -> None:
    """Compare a model with labels of galaxies it has not learned from; OUT is metrics.json.

    Tables, plots and the page report.html lie beside it. The figures hold for predictions with the
    same samples, views and keep_views.
    """
    from galaxymill.evaluation.evaluate import evaluate as run
    from galaxymill.inference.settings import PredictSettings

    chosen = PredictSettings.from_flags([f"device={device}", *settings], "evaluate")
    run(votes, images, model, out, chosen, catalog, truth, split, train, threads, features)
