"""What people find interesting: fit-interest, rate-partition, report-interest."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

RatingsFiles = Annotated[
    list[Path], typer.Option(help="table of ratings: object_id, rating, maybe rater; repeatable")
]
SpaceFile = Annotated[Path, typer.Option(help="space.yaml that the features are of")]
InterestFile = Annotated[Path, typer.Option(help="interest.yaml")]


@app.command()
def fit_interest(
    out: Path,
    ratings: RatingsFiles,
    features: Annotated[
        Path, typer.Option(help="CSV table of the partitions, column part, beside their features")
    ],
    space: SpaceFile,
) -> None:
    """Learn from ratings what people find interesting; OUT is interest.yaml, in a folder of the
    interest's name.
    """
    from galaxymill.interest.fit import fit_interest as run

    run(ratings, features, space, out)


@app.command()
def rate_partition(
    features: Annotated[Path, typer.Argument(help="features of one partition")],
    interest: InterestFile,
    out: Annotated[Path, typer.Option(help="the galaxies, with the ratings that are expected")],
) -> None:
    """Say of every galaxy of one partition how interesting it may be, from its features."""
    from galaxymill.interest.rate import rate_partition as run

    run(features, interest, out)


@app.command()
def report_interest(
    out: Path,
    ratings: RatingsFiles,
    interest: InterestFile,
    rated: Annotated[Path, typer.Option(help="folder of what rate-partition made")],
    space: SpaceFile,
) -> None:
    """Show what was found, what each rater likes, and how far they agree; OUT is report.html.

    Features and images are found beside the space, where the workflow made it.
    """
    from galaxymill.interest.report import report_interest as run

    run(ratings, interest, rated, space, out)
