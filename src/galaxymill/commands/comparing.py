"""Beside other catalogues: compare."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="a release, a HATS folder, or Parquet, CSV, FITS")],
    b: Annotated[Path, typer.Argument(help="the same")],
    on: Annotated[
        str | None, typer.Option(help="column of the identifier; default: the layouts' object_id")
    ] = None,
    sky: Annotated[
        str | None, typer.Option(metavar="RADIUS", help="match positions: 1arcsec")
    ] = None,
    columns: Annotated[
        Path | None, typer.Option("--map", help="YAML, a line a pair: 'column of A: column of B'")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for comparison.json, tables and plots")
    ] = None,
    layout_a: Annotated[str | None, typer.Option(help="where A's columns do not tell")] = None,
    layout_b: Annotated[str | None, typer.Option(help="where B's columns do not tell")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="workers of dask: tcp://node:8786; default: local"),
    ] = None,
) -> None:
    """Compare two morphology catalogues, ours or published, column by column.

    Galaxies are matched by identifier or, with --sky, by position, each once. Vote fractions of
    the same name are compared, and what --map pairs. HATS catalogues are read tile by tile, by
    workers of dask. Layouts: galaxymill, gz_desi, gz_decals, euclid_q1, gz2; docs/compare.md
    explains each number.
    """
    from galaxymill.comparison.compare import compare as run

    typer.echo(run(a, b, on, sky, columns, out, (layout_a, layout_b), scheduler))
