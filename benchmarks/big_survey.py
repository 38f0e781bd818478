"""A catalogue of ten million galaxies, for benchmarks: positions as a wide survey has them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.sky.healpix import INDEX_ORDER, healpix_pixels
from galaxymill.storage.columns import field
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

Floats = npt.NDArray[np.float64]

_GALACTIC_POLE = np.array([-0.8677, -0.1981, 0.4560])
_PLANE = np.sin(np.radians(18))
"""No galaxy is taken nearer to the plane of the Milky Way than 18 degrees."""
_IN_GROUPS, _PER_GROUP = 0.4, 40
_SPREAD_DEG = 0.08
"""Of the median group; others are up to some times wider or narrower."""


def draw_positions(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw positions over a third of the sky, two fifths of them in groups, as galaxies stand."""
    groups = max(int(count * _IN_GROUPS) // _PER_GROUP, 1)
    members = int(count * _IN_GROUPS)
    ra, dec = _draw_field(count - members + groups, rng)
    # Some groups are rich and most are poor.
    of = rng.choice(groups, members, p=rng.dirichlet(np.full(groups, 0.4)))
    spread = rng.lognormal(np.log(_SPREAD_DEG), 0.7, groups)[of]
    north = dec[of] + rng.normal(0, spread)
    east = ra[of] + rng.normal(0, spread) / np.cos(np.radians(dec[of]))
    return np.r_[ra[groups:], east % 360], np.r_[dec[groups:], north]


def _draw_field(count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw positions evenly between declinations -20 and 35, off the plane."""
    ra = rng.uniform(0, 360, 2 * count + 100)
    low, high = np.sin(np.radians([-20, 35]))
    sine = rng.uniform(low, high, len(ra))
    cosine, angle = np.sqrt(1 - sine**2), np.radians(ra)
    towards = np.stack([cosine * np.cos(angle), cosine * np.sin(angle), sine], axis=1)
    kept = np.flatnonzero(np.abs(towards @ _GALACTIC_POLE) > _PLANE)[:count]
    return ra[kept], np.degrees(np.arcsin(sine[kept]))


def write_objects(path: Path, count: int, seed: int = 1) -> None:
    """Write ``objects.parquet`` as ingest does, with radii and four magnitudes."""
    rng = np.random.default_rng(seed)
    ra, dec = draw_positions(count, rng)
    index = healpix_pixels(ra, dec, INDEX_ORDER)
    order = np.argsort(index)
    radius = rng.lognormal(1.0, 0.5, count)
    names = pc.binary_join_element_wise("J", pa.array(rng.permutation(count)).cast(pa.string()), "")
    values = {
        "object_id": names,
        "ra": ra[order],
        "dec": dec[order],
        "_healpix_29": index[order],
        "petro_r50": radius,
        "petro_r90": 2.5 * radius,
        **{f"mag_{band}": rng.uniform(14, 20, count).astype(np.float32) for band in "griz"},
    }
    kept = [field(f"mag_{band}", pa.float32(), "magnitude", "mag") for band in "griz"]
    schema = products.objects(("petro_r50", "petro_r90"), kept)
    table = pa.table([values[name] for name in schema.names], schema)
    write_product(path, table, Origin("ingest"), schema)
