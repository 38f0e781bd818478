"""On a SLURM cluster: orphans."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def cluster() -> None:
    """Look after jobs on a SLURM cluster; docs/cluster.md tells the whole way."""


@app.command()
def orphans(
    cancel: Annotated[bool, typer.Option("--cancel", help="cancel the jobs of dead runs")] = False,
) -> None:
    """List the jobs of every run, and whether its Snakemake is alive.

    A Snakemake that is killed (SIGKILL, a login node that restarts) leaves its jobs running.
    Jobs of runs that are alive, or that were started on another machine, are never cancelled.
    """
    from galaxymill.cluster.orphans import orphans as find

    typer.echo(find(cancel))
