"""While it runs: status."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def status(
    results: Annotated[Path, typer.Argument(help="the workflow's folder")] = Path("results"),
) -> None:
    """Say how far a run has come: partitions, galaxies, time left, and what failed, and why.

    From products, locks and logs alone; anybody who can read RESULTS may ask, while Snakemake
    runs and afterwards.
    """
    from galaxymill.status.report import status as run

    typer.echo(run(results))
