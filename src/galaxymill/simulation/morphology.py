"""What a galaxy looks like before the telescope: its light, component by component.

Discs with arms, bars and rings have no closed profile, so every component is sampled on a grid
finer than the pixels and scaled to its known flux.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from galaxymill.simulation.truth import Galaxy, young_share

Map = npt.NDArray[np.float32]

BANDS = ("g", "r", "z")

CORE_ARCSEC = 0.15
"""Softening of every profile's centre: far below the seeing, and kind to coarse grids."""

STAR_G_R, STAR_R_Z = 0.5, 0.3
"""Colours (magnitudes) of stars, and of their ghosts."""


@dataclass(frozen=True)
class Component:
    """One map of light and its brightness.

    ``light``, shape (n, n), is the share of its flux in each sample; ``flux`` the total in g, r and
    z, nanomaggies.
    """

    light: Map
    flux: npt.NDArray[np.float64]


def components(galaxy: Galaxy, x: Map, y: Map) -> list[Component]:
    """Sample a galaxy and all that belongs to it, on a grid that has to hold it.

    ``x`` and ``y``, shape (n, n), are the samples' offsets from the galaxy's centre, arcsec: to the
    west (right) and to the north (up), evenly spaced.
    """
    flux_r = 10 ** (0.4 * (22.5 - galaxy.mag_r))
    young = young_share(galaxy)
    old_colour = grz(galaxy.old_g_r, galaxy.old_r_z)
    parts: list[Component] = []
    if galaxy.bulge_fraction < 1:
        old_light, young_light = _disc(galaxy, x, y)
        parts.append(Component(_unit(old_light), flux_r * (1 - young) * old_colour))
        young_colour = grz(galaxy.young_g_r, galaxy.young_r_z)
        parts.append(Component(_unit(young_light), flux_r * young * young_colour))
    else:
        parts.append(Component(_unit(_bulge(galaxy, x, y)), flux_r * old_colour))
    if galaxy.kind == "merger":
        parts += _merger(galaxy, x, y, flux_r)
    if galaxy.artifact:
        parts.append(_artifact(galaxy, x, y, flux_r))
    return parts


def grz(g_r: float, r_z: float) -> npt.NDArray[np.float64]:
    """Fluxes in g, r and z relative to r, from two colours in magnitudes."""
    return np.asarray(10 ** (0.4 * np.array([-g_r, 0.0, r_z])))


def _unit(light: npt.NDArray[Any]) -> Map:
    return np.asarray(light / light.sum(), dtype=np.float32)


def _turn(x: Map, y: Map, degrees: float) -> tuple[Map, Map]:
    """Coordinates along and across a direction, in degrees east (left) of north (up)."""
    cosine, sine = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    return y * cosine - x * sine, -x * cosine - y * sine


def _radius(along: Map, across: Map, axis_ratio: float, exponent: float = 2.0) -> Map:
    """Major-axis radius of a generalised ellipse (Peng+10, eq. 3): above 2 boxy, below discy."""
    minor = across / np.float32(axis_ratio)
    if exponent == 2.0:
        return np.sqrt(along**2 + minor**2 + CORE_ARCSEC**2)
    power = np.float32(exponent)
    shape = np.abs(along) ** power + np.abs(minor) ** power + CORE_ARCSEC**exponent
    return np.asarray(shape ** (1 / power), dtype=np.float32)


def _sersic(radius: Map, half_light_radius: float, index: float) -> Map:
    """Sérsic profile (Graham & Driver 2005, eq. 1), not normalised."""
    b = np.float32(gammaincinv(2 * index, 0.5))
    scaled = radius / np.float32(half_light_radius)
    power = scaled if index == 1 else scaled ** np.float32(1 / index)
    return np.asarray(np.exp(-b * power))


def _bulge(galaxy: Galaxy, x: Map, y: Map) -> Map:
    along, across = _turn(x, y, galaxy.position_angle)
    if galaxy.bulge_fraction == 1:
        axis_ratio = galaxy.axis_ratio
    else:  # A bulge is an oblate spheroid of intrinsic axis ratio 0.7 in its disc's plane.
        cosine = np.cos(np.radians(galaxy.inclination))
        axis_ratio = float(np.sqrt(0.49 + 0.51 * cosine**2))
    radius = _radius(along, across, axis_ratio, galaxy.bulge_boxiness)
    return _sersic(radius, galaxy.bulge_radius, galaxy.sersic_index)


def _disc(galaxy: Galaxy, x: Map, y: Map) -> tuple[Map, Map]:
    """Light of the old stars (bulge, bar, disc) and of the young ones (arms, ring)."""
    along, across = _turn(x, y, galaxy.position_angle)
    edge_on = float(np.clip((galaxy.inclination - 70) / 12, 0, 1))
    radius = _radius(along, across, galaxy.axis_ratio, 2 - 0.5 * edge_on)
    smooth = _sersic(radius, galaxy.half_light_radius, 1.0)
    azimuth = np.arctan2(across / galaxy.axis_ratio, along)
    crest = (1 - edge_on) * _crest(galaxy, radius, azimuth)
    old = _unit(smooth * (1 + 0.5 * crest))
    young = smooth * (0.25 + crest) if galaxy.young_fraction else smooth
    if galaxy.bar_strength:
        old = old + 0.45 * galaxy.bar_strength * _unit(_bar(galaxy, radius, azimuth))
        # Bars sweep the young stars out of the region they turn in.
        swept = np.square(np.square(radius / (0.9 * galaxy.bar_length)))
        young = young * -np.expm1(-swept)
    old_share = (1 - galaxy.bulge_fraction) * (1 - galaxy.young_fraction)
    light = old_share * _unit(old)
    light += galaxy.bulge_fraction * _unit(_bulge(galaxy, x, y))
    if edge_on:
        dust = _dust_lane(galaxy, along, across, edge_on)
        light, young = light * dust, young * dust
    return light, young


def _crest(galaxy: Galaxy, radius: Map, azimuth: Map) -> Map:
    """Contrast of arms and ring over the smooth disc, about 0 between the arms."""
    crest = np.zeros_like(radius)
    scaled = radius / galaxy.half_light_radius
    if galaxy.arm_strength:
        log_radius = np.log(scaled)
        winding = log_radius / np.float32(np.tan(np.radians(galaxy.pitch_angle)))
        phase = azimuth - winding - np.float32(np.radians(galaxy.arm_phase))
        ridge = np.exp(2.5 * (np.cos(galaxy.n_arms * phase) - 1))
        inner = max(0.9 * galaxy.bar_length / galaxy.half_light_radius, 0.35)
        # Knots of star formation, strung along the arms.
        knots = 1 + 0.5 * np.cos(9 * azimuth) * np.cos(11 * log_radius)
        rise = -np.expm1(-np.square(scaled / inner))
        # Arms fade more slowly than the disc, hence the growing contrast.
        crest += 4 * galaxy.arm_strength * ridge * knots * rise * np.sqrt(scaled)
    if galaxy.ring_strength:
        width = 0.13 * galaxy.ring_radius
        offset = (radius - galaxy.ring_radius) / width
        crest += 9 * galaxy.ring_strength * np.exp(-(offset**2) / 2)
    return crest


def _bar(galaxy: Galaxy, radius: Map, azimuth: Map) -> Map:
    """Flat bar with a blunt end, four times as long as wide, in the disc's plane."""
    angle = azimuth - np.float32(np.radians(galaxy.bar_angle))
    length = galaxy.bar_length
    rho = _radius(radius * np.cos(angle) / length, radius * np.sin(angle) / length, 0.25, 2.6)
    return np.exp(-np.square(np.square(rho)))


def _dust_lane(galaxy: Galaxy, along: Map, across: Map, edge_on: float) -> Map:
    height = 0.055 * galaxy.half_light_radius
    length = 1.8 * galaxy.half_light_radius
    depth = 0.75 * edge_on * galaxy.young_fraction
    lane = np.exp(-np.square(across / height) - np.square(np.square(along / length)))
    return np.asarray(1 - depth * lane)


def _merger(galaxy: Galaxy, x: Map, y: Map, flux_r: float) -> list[Component]:
    """Companion and two tidal tails, one from each side."""
    along, across = _turn(x, y, galaxy.companion_angle)
    distance = galaxy.companion_distance
    size = galaxy.half_light_radius * 0.75 * np.sqrt(galaxy.companion_flux_ratio)
    spot = _sersic(_radius(along - distance, across, 0.75), size, 1.8)
    colour = grz(0.5 * (galaxy.old_g_r + galaxy.young_g_r), 0.5 * (galaxy.old_r_z + 0.15))
    parts = [Component(_unit(spot), flux_r * galaxy.companion_flux_ratio * colour)]
    radius = np.hypot(along, across) + CORE_ARCSEC
    stretch = np.log(radius / distance)
    tails = np.zeros_like(x)
    for start, share in ((0.0, 1.0), (np.pi, 0.6)):
        turn = np.arctan2(across, along) - start - 1.2 * stretch
        turn = np.angle(np.exp(1j * turn)).astype(np.float32)
        offset = turn * radius / (0.22 * galaxy.companion_distance)
        tails += share * np.exp(-(offset**2) - (stretch - 0.25) ** 2 / 0.2)
    young = grz(galaxy.young_g_r, galaxy.young_r_z)
    return [*parts, Component(_unit(tails), flux_r * 0.4 * galaxy.tail_strength * young)]


def _artifact(galaxy: Galaxy, x: Map, y: Map, flux_r: float) -> Component:
    """A satellite's trail (one band), a bright star with spikes, or a star's ghost."""
    along, across = _turn(x, y, galaxy.artifact_angle)
    extent = np.float32(galaxy.petro_r90)
    if galaxy.artifact == "trail":
        light = np.exp(-((across / 1.2) ** 2))
        return Component(_unit(light), 12 * flux_r * np.array([0.1, 1.0, 0.1]))
    colour = grz(STAR_G_R, STAR_R_Z)
    radius = np.hypot(along, across)
    if galaxy.artifact == "star":
        spikes = sum(
            np.exp(-np.abs(a) / (0.8 * extent) - (b / 0.7) ** 2) for a, b in ((x, y), (y, x))
        )
        # Fades out before the grid ends, which would show as a square.
        halo = np.exp(-((radius / (3 * extent)) ** 4)) / (1 + (radius / 1.5) ** 3)
        return Component(_unit(spikes + 3 * halo), 150 * flux_r * colour)
    inner, outer = 0.8 * extent, 2.2 * extent
    edges = np.tanh((radius - inner) / 0.8) - np.tanh((radius - outer) / 0.8)
    return Component(_unit(np.maximum(edges, 0)), 10 * flux_r * colour)
