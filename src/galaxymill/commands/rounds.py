"""Rounds: what volunteers are asked, the verdict on what was learned, the champion."""

from pathlib import Path
from typing import Annotated

import typer

from galaxymill.commands.options import ImagesFiles, Sets, taking

app = typer.Typer()

Number = Annotated[int, typer.Option(min=1, help="number of the round")]
Subjects = Annotated[list[Path], typer.Option(help="subjects.parquet of each round, in order")]


@app.command(cls=taking("rounds.settings:ChooseSettings"))
def choose_subjects(
    partitions: Path,
    predictions: Annotated[Path, typer.Argument(help="folder, one file a partition")],
    out: Path,
    model: Annotated[Path, typer.Option(help="model.yaml of the champion")],
    votes: Annotated[Path, typer.Option(help="votes.parquet so far")],
    number: Number,
    before: Subjects = [],
    settings: Sets = [],
    split: Annotated[list[str], typer.Option(help="KEY=VALUE of the labels' splits")] = [],
    space: Annotated[Path | None, typer.Option(help="space.yaml: spread over it")] = None,
    features: Annotated[Path | None, typer.Option(help="with --space: its features.csv")] = None,
) -> None:
    """Choose the galaxies that volunteers are asked about next; OUT is subjects.parquet."""
    from galaxymill.errors import UserError
    from galaxymill.rounds.choose import ChooseRequest
    from galaxymill.rounds.choose import choose_subjects as run
    from galaxymill.rounds.settings import ChooseSettings
    from galaxymill.splits import SplitSettings

    chosen = ChooseSettings.from_flags(settings, "choose-subjects")
    splits = SplitSettings.from_flags(split, "--split")
    if (space is None) != (features is None):
        raise UserError("--space and --features: give both of them, or none")
    request = ChooseRequest(
        number=number,
        partitions=partitions,
        predictions=predictions,
        model=model,
        votes=votes,
        before=tuple(before),
        settings=chosen,
        splits=splits,
        space=(space, features) if space and features else None,
    )
    run(request, out)


@app.command()
def write_subjects(
    out: Path,
    subjects: Annotated[Path, typer.Argument(help="subjects.parquet of the round")],
    images: ImagesFiles,
    key: Annotated[list[str], typer.Option(help="object_id=KEY: one more column of it")] = [],
) -> None:
    """Write a round's subjects for Zooniverse: OUT is manifest.csv, written last; images lie beside
    it.

    The Lab's uploader and panoptes-cli take the folder as it is; so does upload-subjects.
    """
    from galaxymill.errors import UserError
    from galaxymill.rounds.upload.subjects import write_subjects as run

    pairs = [one.partition("=")[::2] for one in key]
    for name, value in pairs:
        if name not in ("object_id", "ra", "dec") or not value:
            raise UserError(f"--key {name}={value}: give object_id=KEY, ra=KEY or dec=KEY")
    run(subjects, images, out, dict(pairs))


@app.command()
def upload_subjects(
    manifest: Annotated[Path, typer.Argument(help="manifest.csv of write-subjects")],
    project: Annotated[str, typer.Option(help="number of the project at Zooniverse")],
    subject_set: Annotated[str, typer.Option(help="its name; made where there is none")],
    endpoint: Annotated[
        str, typer.Option(envvar="PANOPTES_ENDPOINT", help="address of the server")
    ] = "https://www.zooniverse.org",
) -> None:
    """Upload a manifest's subjects to Zooniverse; broken off, it goes on where it was.

    Credentials are taken from PANOPTES_USERNAME and PANOPTES_PASSWORD, or PANOPTES_CLIENT_ID and
    PANOPTES_CLIENT_SECRET. Receipts are kept in receipts.csv beside the manifest.
    """
    from galaxymill.rounds.upload.upload import upload_subjects as run

    number = run(manifest, project, subject_set, endpoint)
    typer.echo(f"all subjects of {manifest} are in subject set {number}, {subject_set!r}")


@app.command(cls=taking("inference.settings:PredictSettings"))
def judge_round(
    out: Path,
    votes: Annotated[Path, typer.Option(help="votes.parquet with the answers of the round")],
    images: ImagesFiles,
    champion: Annotated[Path, typer.Option(help="model.yaml so far")],
    challenger: Annotated[Path, typer.Option(help="model.yaml that learned from this round too")],
    subjects: Subjects,
    number: Number,
    margin: Annotated[float, typer.Option(help="part of the gain that may be lost")],
    features: Annotated[Path | None, typer.Option(help="of probes: features.csv")] = None,
    promote: Annotated[str, typer.Option(help="a person's reason to promote in any case")] = "",
    keep: Annotated[str, typer.Option(help="a person's reason to keep the champion")] = "",
    settings: Sets = [],
) -> None:
    """Judge a challenger; OUT is model.yaml of the champion from now on, beside it the verdict."""
    from galaxymill.errors import UserError
    from galaxymill.inference.settings import PredictSettings
    from galaxymill.rounds.judge import JudgeRequest, Overruled
    from galaxymill.rounds.judge import judge_round as run
    from galaxymill.rounds.settings import JudgeSettings

    if promote and keep:
        raise UserError("--promote and --keep: give one of them")
    request = JudgeRequest(
        number=number,
        subjects=tuple(subjects),
        votes=votes,
        images=tuple(images),
        champion=champion,
        challenger=challenger,
        settings=JudgeSettings(margin=margin),
        predict=PredictSettings.from_flags(settings, "judge-round"),
        features=features,
        overruled=Overruled(bool(promote), promote or keep) if promote or keep else None,
    )
    run(request, out)


@app.command()
def take_champion(
    model: Annotated[Path, typer.Argument(help="model.yaml of the champion")], out: Path
) -> None:
    """Put the champion where predictions find it; OUT is model.yaml."""
    from galaxymill.rounds.champion import take_champion as run

    run(model, out)


@app.command()
def report_rounds(
    out: Path,
    partitions: Annotated[Path, typer.Option(help="partitions.csv of the survey")],
    predictions: Annotated[Path, typer.Option(help="folder, one file a partition")],
    model: Annotated[Path, typer.Option(help="model.yaml of the champion")],
    images: Annotated[Path, typer.Option(help="images.csv of the survey")],
    subjects: Subjects,
    votes: Annotated[
        list[Path], typer.Option(help="votes.parquet before the first round, and after each")
    ],
    featured: Annotated[str, typer.Option(help="answer whose share is estimated")] = "",
) -> None:
    """Write the page of all rounds; OUT is report.html."""
    from galaxymill.rounds.history import HistoryRequest
    from galaxymill.rounds.history import report_rounds as run

    request = HistoryRequest(
        tuple(subjects), tuple(votes), partitions, predictions, model, images, featured
    )
    run(request, out)
