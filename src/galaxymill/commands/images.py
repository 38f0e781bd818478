"""Commands about images that are no stage of the workflow: ``galaxymill images …``."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="Take images out of their products.", no_args_is_help=True)


@app.command()
def export(
    images: Annotated[
        list[Path], typer.Argument(help="images products, or folders of them (…/images)")
    ],
    out: Annotated[Path, typer.Option(help="folder to write into")],
    layout: Annotated[
        Literal["files", "webdataset"],
        typer.Option("--as", help="files with catalog.csv, or tars for WebDataset"),
    ] = "files",
) -> None:
    """Write the rendered images as files, for tools that want a folder or tars.

    files: one file an image and catalog.csv (id_str, file_loc, flags), as Zoobot reads it; OUT is
    a new folder. webdataset: a tar a partition, each image beside a JSON of its object_id.
    """
    from galaxymill.images.export import export_files, export_tars
    from galaxymill.images.pixels import products_in

    run = export_files if layout == "files" else export_tars
    total = run([product for path in images for product in products_in(path)], out)
    logging.getLogger("galaxymill").info("export: %d images in %s", total, out)


@app.command()
def sheet(
    images: Annotated[list[Path], typer.Argument(help="images products")],
    out: Annotated[Path, typer.Option(help="picture to write, .png or .jpg")],
    columns: Annotated[int, typer.Option(min=1, max=50, help="images side by side")] = 8,
    most: Annotated[int, typer.Option(min=1, max=1000, help="images of each product")] = 40,
) -> None:
    """Draw a contact sheet of the first images of each product, with their names and flags."""
    from galaxymill.images.sheet import contact_sheet

    total = contact_sheet(images, out, columns, most)
    logging.getLogger("galaxymill").info("sheet: %d galaxies in %s", total, out)
