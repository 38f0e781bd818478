"""While it runs, and after it was killed: status, orphans."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
cluster = typer.Typer(
    help="Look after jobs on a SLURM cluster.",
    no_args_is_help=True,
)


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


@cluster.command()
def orphans(
    cancel: Annotated[bool, typer.Option("--cancel", help="cancel the jobs of dead runs")] = False,
) -> None:
    """List the jobs of every run, and whether its Snakemake is alive.

    A Snakemake that is killed (SIGKILL, a login node that restarts) leaves its jobs running.
    Jobs of runs that are alive, or that were started on another machine, are never cancelled.
    """
    from galaxymill.cluster.orphans import orphans as find

    typer.echo(find(cancel))
