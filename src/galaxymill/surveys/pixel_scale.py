"""How large a piece of sky to cut out."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxymill.catalog.positions import has_positions
from galaxymill.errors import UserError
from galaxymill.surveys.base import MAX_SIZE, ServiceSettings

Floats = npt.NDArray[np.float64]
Sizes = npt.NDArray[np.int64]

NATIVE_PIXEL_SCALE = 0.262
"""Pixel scale of the Legacy Surveys, arcsec."""
RADII = ["petro_r50", "petro_r90"]
_GZ_SIZE = 424
_MIN_SIZE = 16


def require_columns(tile: Path, columns: Collection[str], settings: ServiceSettings) -> None:
    """Raise UserError when a tile lacks the positions or radii that its cutouts are made by."""
    why_positions = settings.why_positions
    if why_positions and not has_positions(tile):
        raise UserError(
            f"{tile}: its galaxies have no positions, but {why_positions}; name the columns ra "
            "and dec to ingest, or take service files without a footprint"
        )
    absent = [name for name in RADII if name not in columns]
    if absent and settings.pixel_scale == "gz_decals":
        raise UserError(
            f"{tile}: no {' and '.join(absent)}, which pixel_scale gz_decals needs; name the "
            "columns to ingest, or give a pixel_scale in arcsec"
        )


def pixel_scale_and_size(
    petro_r50: float | None, petro_r90: float | None, settings: ServiceSettings
) -> tuple[float, int]:
    """Return the pixel scale (arcsec) and size (pixels, 16 to 3000) of one galaxy's cutout.

    With ``pixel_scale: gz_decals`` the field is that of Galaxy Zoo DECaLS (Walmsley+22, 2.2):
    424 pixels of ``max(min(0.04·r50, 0.02·r90), 0.1)`` arcsec. It is spread over the configured
    size, unless that would be finer than the survey's own 0.262 arcsec: then it is cut at that
    scale, with fewer pixels. A galaxy without Petrosian radii (arcsec) gets the smallest field.
    """
    if settings.pixel_scale != "gz_decals":
        return settings.pixel_scale, settings.size
    r50, r90 = (np.array([radius or 0], np.float64) for radius in (petro_r50, petro_r90))
    size = int(cutout_sizes(r50, r90, settings)[0])
    scale = float(_fields_arcsec(r50, r90)[0]) / (settings.size or _GZ_SIZE)
    return max(scale, NATIVE_PIXEL_SCALE), size


def cutout_sizes(r50: Floats, r90: Floats, settings: ServiceSettings) -> Sizes:
    """Sizes, shape (n,), of many galaxies' cutouts by their radii; see `pixel_scale_and_size`."""
    field_arcsec = _fields_arcsec(r50, r90)
    native = np.clip(np.round(field_arcsec / NATIVE_PIXEL_SCALE), _MIN_SIZE, MAX_SIZE)
    wanted = settings.size or _GZ_SIZE
    coarse = field_arcsec / wanted >= NATIVE_PIXEL_SCALE
    return np.where(coarse, wanted, native).astype(np.int64)


def _fields_arcsec(r50: Floats, r90: Floats) -> Floats:
    small, large = (np.where(np.isfinite(r) & (r > 0), r, 0.0) for r in (r50, r90))
    return _GZ_SIZE * np.maximum(np.minimum(0.04 * small, 0.02 * large), 0.1)
