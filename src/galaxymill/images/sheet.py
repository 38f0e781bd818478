"""A contact sheet: images to look at, with their names and flags."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.pixels import domain_of
from galaxymill.images.recipes import settings_of
from galaxymill.storage.parquet import read_batches

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE, _CAPTION, _GAP = 160, 48, 4
_TITLE = 20
_LETTERS, _LINES = 26, 3
_GREY, _WHITE = (70, 70, 70), (255, 255, 255)


def contact_sheet(products: Sequence[Path], out: Path, columns: int, most: int) -> int:
    """Draw the first ``most`` images of each product into one picture, product below product.

    Galaxies without an image are drawn as an empty field, with their flags. Gives the number of
    galaxies drawn. Raises UserError when ``out`` is no ``.png`` or ``.jpg``, or ``products`` are
    not of render.
    """
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"{out}: name a file that ends in .png or .jpg")
    parts = [(_title(path), list(islice(_rows(path), most))) for path in products]
    draw_sheet(parts, columns).save(out, quality=90)
    return sum(len(rows) for _, rows in parts)


def draw_sheet(parts: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], columns: int) -> "Image":
    """Draw galaxies below a title each; a row has object_id, image, flags, and perhaps a note."""
    from PIL import Image, ImageDraw

    lines = [-(-len(rows) // columns) for _, rows in parts]
    height = sum(_TITLE + n * (_SIDE + _CAPTION) for n in lines) + _GAP
    sheet = Image.new("RGB", (columns * (_SIDE + _GAP) + _GAP, height), _WHITE)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for (title, rows), n in zip(parts, lines, strict=True):
        draw.text((_GAP, top + _GAP), title, fill=(0, 0, 0))
        for index, row in enumerate(rows):
            left = _GAP + index % columns * (_SIDE + _GAP)
            upper = top + _TITLE + index // columns * (_SIDE + _CAPTION)
            sheet.paste(thumbnail(row), (left, upper))
            draw.text((left, upper + _SIDE + 2), _caption(row), fill=(0, 0, 0), spacing=2)
        top += _TITLE + n * (_SIDE + _CAPTION)
    return sheet


def _title(path: Path) -> str:
    kind = domain_of(path)
    return f"{kind['survey']}: {kind['recipe']}, {settings_of(kind).size} pixels"


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for batch in read_batches(path, ["object_id", "image", "flags"], 16):
        yield from batch.to_pylist()


def thumbnail(row: Mapping[str, Any]) -> "Image":
    """Draw a galaxy's image small, 160 pixels wide; grey where there is none."""
    from PIL import Image

    if row["image"] is None:
        return Image.new("RGB", (_SIDE, _SIDE), _GREY)
    with Image.open(io.BytesIO(row["image"]["bytes"]), formats=("JPEG", "PNG", "WEBP")) as opened:
        return opened.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


def _caption(row: Mapping[str, Any]) -> str:
    # The picture's own font has no other letters.
    name = row["object_id"].encode("ascii", "replace").decode()
    note = ", ".join(filter(None, [row.get("note"), *flags.names(row["flags"])]))
    lines = textwrap.wrap(note, _LETTERS)
    return "\n".join([name[:_LETTERS], *lines[: _LINES - 1]])
