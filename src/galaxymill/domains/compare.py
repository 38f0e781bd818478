"""Command ``compare-domains``: what differs between the images of two surveys, and how much."""

import logging
from pathlib import Path
from typing import Any

from galaxymill.domains.classifier import auc_of, rank
from galaxymill.domains.page import draw_page
from galaxymill.domains.side import (
    IMAGES,
    Measured,
    Side,
    measure_images,
    open_side,
    picture_side,
    read_vectors,
    require_same,
)
from galaxymill.errors import UserError
from galaxymill.images.domains import alike, differing
from galaxymill.reporting.plots import own_style
from galaxymill.storage.atomic import atomic_tree, exclusive

PRODUCT, PAGE = "comparison.json", "index.html"

logger = logging.getLogger("galaxymill")


def compare_domains(
    a: Path, b: Path, out: Path, vectors: tuple[Path, Path] | None = None, most: int = 1000
) -> str:
    """Compare two surveys by their galaxies, and give the result in a sentence.

    Parameters
    ----------
    a, b : Path
        A product, or a folder of products, of images (or of embeddings or features, when there
        are no images).
    out : Path
        Folder for ``comparison.json`` and ``index.html``.
    vectors : tuple of Path, optional
        Embeddings or features of both surveys, by one model.
    most : int
        Galaxies of each survey, drawn by a hash of the ``object_id``.

    Raises
    ------
    UserError
        When there is nothing to compare, or what there is means different things.
    """
    pairs = [(open_side(a), open_side(b))]
    if vectors:
        pairs.append((open_side(vectors[0]), open_side(vectors[1])))
        if IMAGES in {side.column for side in pairs[1]}:
            raise UserError(f"{vectors[0]}: images; --features are embeddings or features")
    for pair in pairs:
        require_same(*pair)
    one, other = pairs[0]
    found: dict[str, Any] = {
        "a": _of(one),
        "b": _of(other),
        "one_domain": alike(one.domain, other.domain),
        "differences": [
            {"what": what, "a": _short(mine), "b": _short(theirs)}
            for what, mine, theirs in differing(one.domain, other.domain)
        ],
        "hand": None,
        "frozen": None,
        "features": [],
    }
    measured: list[Measured] = []
    pictures: list[dict[str, bytes]] = []
    for pair in pairs:
        if pair[0].column == IMAGES:
            side = picture_side(*pair)
            drawn = [measure_images(each, most, side) for each in pair]
            measured, pictures = [one for one, _ in drawn], [images for _, images in drawn]
            found["hand"] = auc_of(measured[0], measured[1], forest=True)
            found["features"] = rank(measured[0], measured[1])
        else:
            mine, theirs = (read_vectors(each, most) for each in pair)
            found["frozen"] = auc_of(mine, theirs, forest=False)
    with exclusive(out / PRODUCT), own_style(), atomic_tree(out, PRODUCT) as folder:
        report = draw_page(found, measured, pictures)
        report.write(folder, PRODUCT)
        (folder / "report.html").rename(folder / PAGE)
    logger.info("compare-domains: %s: %s", out / PAGE, report.headline)
    return report.headline


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _of(side: Side) -> dict[str, Any]:
    return {
        "survey": side.name,
        "path": str(side.path),
        "domain": side.domain,
        "digests": list(side.digests),
    }
