"""Volunteers as individuals: fit, report, feedback."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Learn what each volunteer is like from their answers.",
    no_args_is_help=True,
)

Individual = Annotated[
    Path, typer.Option(help="individual.parquet; votes, answers and volunteers lie beside it")
]


@app.command()
def fit(
    out: Path,
    answers: Annotated[Path, typer.Option(help="answers.parquet of a labelled set")],
    votes: Annotated[Path, typer.Option(help="votes.parquet of the same set")],
) -> None:
    """Learn volunteers and galaxies; OUT is individual.parquet, volunteers.parquet beside it."""
    from galaxymill.volunteers.fit import fit_volunteers

    fit_volunteers(answers, votes, out)


@app.command()
def report(out: Path, individual: Individual) -> None:
    """Show what the volunteers are like, and what that changes; OUT is report.html."""
    from galaxymill.volunteers.report import report_volunteers

    report_volunteers(individual, out)


@app.command()
def feedback(
    out: Path,
    individual: Individual,
    images: Annotated[
        list[Path],
        typer.Option(help="images.csv of a survey, or images.parquet of a folder; repeatable"),
    ] = [],
    volunteer: Annotated[
        list[str], typer.Option(help="a pseudonym; repeatable; else all that differ")
    ] = [],
) -> None:
    """Write a page for each volunteer who answers otherwise than others; OUT is their list."""
    from galaxymill.volunteers.feedback import write_feedback

    write_feedback(individual, images, out, volunteer)
