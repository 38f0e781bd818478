"""To begin with: a config, and the workflow."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from galaxymill.paths import CONFIG

app = typer.Typer()

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command()
def init(
    service: Annotated[str, typer.Option(help="where cutouts come from")] = "legacy",
    tree: Annotated[str, typer.Option(help="questions of your labels; empty: no labels")] = "",
    out: Annotated[Path, typer.Option(help="the config")] = CONFIG,
) -> None:
    """Write a config with comments to start from."""
    from galaxymill.config.starter import write_starter
    from galaxymill.paths import TREES

    write_starter(out, service, tree, TREES)
    typer.echo(f"{out}: change what stands in CAPITALS; then: galaxymill run -- -n")


@app.command(context_settings=PASSED_ON)
def run(arguments: typer.Context) -> None:
    """Run the workflow: ``snakemake`` with its Snakefile, and what follows ``--``.

    ``galaxymill run -- -n`` shows what would be done, ``galaxymill run -- --cores 4`` does it, and
    ``galaxymill run -- --cores 4 images`` does one target; ``galaxymill run -- --help`` lists all
    options. The config is galaxymill.yaml, where there is one and no other is named by
    ``--configfile``; else the demo.
    """
    from galaxymill.paths import WORKFLOW

    words = list(arguments.args)
    named = any(
        word.split("=")[0] in ("--configfile", "--configfiles", "--config") for word in words
    )
    if CONFIG.is_file() and not named:
        words += ["--configfile", str(CONFIG)]
    elif not named:
        typer.echo(f"galaxymill: no {CONFIG} here, and no --configfile: this is the demo", err=True)
    program = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile")]
    sys.stdout.flush()
    os.execv(sys.executable, [*program, *words])
