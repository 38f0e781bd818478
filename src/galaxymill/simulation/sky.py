"""The truth behind the demo sky: where simulated galaxies are and what they look like.

Every galaxy is drawn from its own random stream, seeded by the sky's seed and its ``object_id``,
so a larger sky begins with the galaxies of a smaller one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from galaxymill.simulation.truth import TRUTH_SCHEMA, Galaxy, magnitudes, petrosian_radii

CENTRE = (150.0, 2.0)
"""Right ascension and declination of the patch's centre, degrees."""

HALF_SIDE_DEG, ROOM = 6.0, 50_000
"""Half the side of the square patch, degrees, and how many galaxies fill it before it grows."""

MIN_SEPARATION_ARCSEC = 75.0
"""In the flat patch, whose shear at high declinations leaves more than 60 on the sky."""

CLUSTERS = ((148.2, 4.1, 0.8), (152.6, -0.6, 1.2))
"""Overdensities (ra, dec, sigma in degrees) which make HEALPix tiles differ in number."""

KINDS = {"smooth": 0.43, "disc": 0.52, "merger": 0.042, "artifact": 0.008}
"""Share of each kind of object."""


def generator(seed: int, *keys: object) -> np.random.Generator:
    """Open the random stream that belongs to the sky's ``seed`` and to ``keys`` alone.

    Keys name the draw, e.g. by an ``object_id``; they differ when their ``repr`` does.
    """
    digest = hashlib.blake2b(repr((int(seed), *keys)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def simulate_sky(
    n_galaxies: int = 1000, seed: int = 1, kinds: Mapping[str, float] = KINDS
) -> pa.Table:
    """Draw the truth table of a sky; ``kinds`` are the shares of each kind, which add up to 1.

    Returns
    -------
    pyarrow.Table
        One row an object, with `TRUTH_SCHEMA`; no two are nearer than 60 arcsec, and the first
        rows do not depend on ``n_galaxies``.
    """
    galaxies = []
    taken: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for index in range(n_galaxies):
        object_id = f"sim-{index:06d}"
        ra, dec = _place(index, generator(seed, object_id, "position"), taken)
        galaxies.append(_draw(object_id, ra, dec, generator(seed, object_id, "structure"), kinds))
    return pa.Table.from_pylist([vars(galaxy) for galaxy in galaxies], schema=TRUTH_SCHEMA)


def catalog(truth: pa.Table) -> pa.Table:
    """Reduce a truth table to what a survey's catalogue holds.

    ``object_id``; ``ra``, ``dec`` in degrees; ``petro_r50``, ``petro_r90`` in arcsec; ``mag_g``,
    ``mag_r``, ``mag_z`` (AB); ``redshift``.
    """
    rows = [Galaxy(**row) for row in truth.to_pylist()]
    mags = np.array([magnitudes(galaxy) for galaxy in rows]).reshape(-1, 3)
    names = ("object_id", "ra", "dec", "petro_r50", "petro_r90")
    columns: dict[str, Any] = {name: truth[name] for name in names}
    columns |= {f"mag_{band}": mags[:, i] for i, band in enumerate("grz")}
    return pa.table(columns | {"redshift": truth["redshift"]})


def _place(
    index: int, rng: np.random.Generator, taken: dict[tuple[int, int], list[tuple[float, float]]]
) -> tuple[float, float]:
    """Find a position clear of all earlier ones; ``taken`` bins them by the separation."""
    cell = MIN_SEPARATION_ARCSEC / 3600
    half_side = HALF_SIDE_DEG * max(1.0, index / ROOM) ** 0.5
    while True:
        pick = rng.integers(6)
        if pick < len(CLUSTERS) and index < ROOM:
            ra, dec, sigma = CLUSTERS[pick]
            x, y = rng.normal((ra - CENTRE[0], dec - CENTRE[1]), sigma)
        else:
            x, y = rng.uniform(-half_side, half_side, 2)
        column, row = int(x // cell), int(y // cell)
        near = [
            spot
            for i in (column - 1, column, column + 1)
            for j in (row - 1, row, row + 1)
            for spot in taken.get((i, j), ())
        ]
        if all((x - a) ** 2 + (y - b) ** 2 > cell**2 for a, b in near):
            taken.setdefault((column, row), []).append((x, y))
            dec = CENTRE[1] + y
            return float(CENTRE[0] + x / np.cos(np.radians(dec))), float(dec)


def _draw(
    object_id: str, ra: float, dec: float, rng: np.random.Generator, kinds: Mapping[str, float]
) -> Galaxy:
    # Counts rise as 10^(0.3 m): flatter than the sky's 0.6, as a sample cut in size as well is.
    bright, faint = 10 ** (0.3 * 14.0), 10 ** (0.3 * 19.0)
    mag_r = float(np.log10(rng.uniform(bright, faint)) / 0.3)
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    r90 = 6.6 * 10 ** (-0.09 * (mag_r - 17.8) + rng.normal(0.02, 0.13))
    common: dict[str, Any] = {
        "object_id": object_id,
        "ra": ra,
        "dec": dec,
        "mag_r": mag_r,
        "redshift": float(0.09 * 10 ** (0.14 * (mag_r - 17.8) + rng.normal(0, 0.15))),
        "petro_r50": 0.0,
        "petro_r90": 0.0,
        "kind": kind,
        "position_angle": rng.uniform(0, 180),
        "old_g_r": rng.normal(0.78, 0.07),
        "old_r_z": rng.normal(0.62, 0.05),
        "young_g_r": rng.normal(0.28, 0.07),
        "young_r_z": rng.normal(0.15, 0.06),
    }
    is_disc = kind == "disc" or (kind != "smooth" and rng.random() < 0.5)
    galaxy = Galaxy(**common | (_disc(rng) if is_disc else _spheroid(rng)))
    if kind == "merger":
        galaxy = replace(galaxy, **_merger(rng))
    if kind == "artifact":
        artifact = str(rng.choice(["trail", "star", "ghost"]))
        galaxy = replace(galaxy, artifact=artifact, artifact_angle=rng.uniform(0, 180))
    return _sized(galaxy, float(np.clip(r90, 3.2, 25.0)))


def _spheroid(rng: np.random.Generator) -> dict[str, Any]:
    blue = 0.35 * rng.random() if rng.random() < 0.35 else 0.0
    return {
        "half_light_radius": 1.0,
        "bulge_radius": 1.0,
        "axis_ratio": 0.32 + 0.68 * rng.beta(1.7, 1.2),
        "sersic_index": rng.uniform(1.3, 4.2),
        "old_g_r": rng.normal(0.78, 0.07) - blue,
        "old_r_z": rng.normal(0.62, 0.05) - 0.8 * blue,
    }


def _disc(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a disc in units of its own half-light radius."""
    cosine, thickness = rng.uniform(0, 1), rng.uniform(0.10, 0.18)
    bulge = float(np.clip(rng.beta(1.3, 3.2), 0.02, 0.75))
    barred, armed, ringed = rng.random(3) < (0.5, 0.78, 0.15)
    return {
        "half_light_radius": 1.0,
        # An oblate disc's apparent axis ratio (Hubble 1926).
        "axis_ratio": float(np.sqrt(cosine**2 * (1 - thickness**2) + thickness**2)),
        "inclination": float(np.degrees(np.arccos(cosine))),
        "sersic_index": rng.uniform(1.0, 3.0),
        "bulge_fraction": bulge,
        "bulge_radius": rng.uniform(0.18, 0.28) + 0.25 * bulge,
        "bulge_boxiness": 3.6 if rng.random() < 0.25 else 2.0,
        "bar_strength": rng.uniform(0.25, 1.0) if barred else 0.0,
        "bar_length": rng.uniform(0.55, 0.95) if barred else 0.0,
        "bar_angle": rng.uniform(0, 180),
        "n_arms": int(rng.choice([1, 2, 3, 4, 5], p=[0.06, 0.54, 0.2, 0.13, 0.07])) if armed else 0,
        "pitch_angle": rng.uniform(10, 35),
        "arm_strength": rng.beta(2.2, 1.3) if armed else 0.0,
        "arm_phase": rng.uniform(0, 360),
        "ring_strength": rng.uniform(0.4, 1.0) if ringed else 0.0,
        "ring_radius": rng.uniform(0.9, 1.4) if ringed else 0.0,
        "young_fraction": rng.uniform(0.35, 0.75) if armed or ringed else rng.uniform(0.0, 0.5),
    }


def _merger(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "companion_flux_ratio": rng.uniform(0.2, 0.9),
        "companion_distance": rng.uniform(1.3, 2.6),
        "companion_angle": rng.uniform(0, 360),
        "tail_strength": rng.uniform(0.3, 1.0),
    }


def _sized(galaxy: Galaxy, petro_r90: float) -> Galaxy:
    """Scale a galaxy drawn in units of its half-light radius to a Petrosian radius in arcsec."""
    r50, r90 = petrosian_radii(galaxy)
    scale = petro_r90 / r90
    lengths = ("half_light_radius", "bulge_radius", "bar_length", "ring_radius")
    scaled = {n: getattr(galaxy, n) * scale for n in (*lengths, "companion_distance")}
    return replace(galaxy, petro_r50=r50 * scale, petro_r90=petro_r90, **scaled)
