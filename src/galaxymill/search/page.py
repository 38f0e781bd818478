"""The galaxies that were found as one web page, which opens from disk and asks for nothing."""

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from galaxymill import flags
from galaxymill.images.sheet import thumbnail
from galaxymill.reporting.templates import read_templates


def write_page(
    path: Path,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    pictures: Sequence[Mapping[str, Any]],
) -> None:
    """Write the page: a picture of each of the first rows, with its rank, name and place.

    Parameters
    ----------
    rows : sequence of mapping
        Rank, object_id, ra, dec and similarity of all that were found.
    pictures : sequence of mapping
        Object_id, image and flags of the first of them.
    """
    shown = [
        {**row, "flags": ", ".join(flags.names(picture["flags"])), "jpeg": _jpeg(picture)}
        for row, picture in zip(rows, pictures, strict=False)
    ]
    # Names are the users': whatever stands in them is text, no markup.
    template = read_templates("galaxymill.search", autoescape=True).get_template("nearest.html")
    path.write_text(template.render(title=title, shown=shown, found=len(rows)), encoding="utf-8")


def _jpeg(picture: Mapping[str, Any]) -> str:
    file = io.BytesIO()
    thumbnail(picture).save(file, "JPEG", quality=85)
    return b64encode(file.getvalue()).decode()
