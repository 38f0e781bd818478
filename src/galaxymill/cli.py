"""The command line: one command a stage; the commands stand in ``commands/``, by subject."""

import logging
import os
import sys
from errno import EACCES, EISDIR, ENAMETOOLONG, ENOTDIR
from typing import Annotated

import typer

from galaxymill.commands import (
    catalogue,
    finding,
    images,
    interests,
    learning,
    looking,
    probing,
    rounds,
    running,
    starting,
    survey,
    volunteers,
)
from galaxymill.errors import UserError

app = typer.Typer(
    name="galaxymill",
    help=(
        "From a sky survey to a catalogue of galaxy morphology.\n\n"
        "Each command is one stage: it reads files, writes one product atomically, and knows "
        "nothing of the workflow. Snakemake decides when to call which; see ARCHITECTURE.md. "
        "Stages in order: download, ingest, partition, fetch, render, labels, volunteers, train, "
        "evaluate, predict, space, project, map, similar, probe, apply, fit-interest, "
        "rate-partition, report-interest, detectability, release, explore-partition, "
        "build-explorer, choose-subjects, write-subjects, judge-round."
    ),
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (
    survey,
    learning,
    finding,
    probing,
    interests,
    catalogue,
    looking,
    rounds,
    running,
    starting,
):
    app.add_typer(part.app)
app.add_typer(images.app, name="images")
app.add_typer(volunteers.app, name="volunteers")
app.add_typer(running.cluster, name="cluster")


EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "timm", "lightning", "huggingface_hub"), "train"),
    "galsim": "demo",
}
"""Packages that are no part of the base, and with what they are installed."""

_OF_A_PATH = {ENAMETOOLONG, EACCES, EISDIR, ENOTDIR}
"""Mistakes in a user's path; a file that is gone may be the program's own fault."""


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="print the version and end")] = False,
) -> None:
    if version:
        from galaxymill import __version__

        typer.echo(f"galaxymill {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2."""
    # OpenMP threads that spin while they wait starve each other when cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("galaxymill").setLevel(logging.INFO)
    logging.getLogger("stamina").setLevel(logging.ERROR)
    try:
        app()
    except UserError as error:
        typer.echo(f"galaxymill: {error}", err=True)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if not extra:
            raise
        typer.echo(
            f"galaxymill: this needs {error.name}, which is not installed: "
            f"pip install 'galaxymill[{extra}]'",
            err=True,
        )
        raise SystemExit(2) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno not in _OF_A_PATH:
            raise
        typer.echo(f"galaxymill: {str(error.filename)[:200]}: {error.strerror}", err=True)
        raise SystemExit(2) from None
