"""One simulated galaxy: the parameters of its light, and what follows from them."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import gammainc, gammaincinv


@dataclass(frozen=True)
class Galaxy:
    """Everything there is to know about one object; the columns of the truth table.

    Lengths are arcsec. Angles are degrees: ``position_angle``, ``companion_angle`` and
    ``artifact_angle`` east of north; ``bar_angle`` and ``arm_phase`` within the disc's plane, from
    its major axis. Fractions and strengths run from 0 to 1; a kind leaves at 0 what it has not.

    Attributes
    ----------
    ra, dec : float
        ICRS position, degrees.
    mag_r : float
        Total r magnitude (AB) of the object, without companion, tails and artifact.
    petro_r50, petro_r90 : float
        Radii of 50 and 90 % of the Petrosian flux.
    kind : str
        ``"smooth"``, ``"disc"``, ``"merger"`` or ``"artifact"``.
    half_light_radius : float
        Of the disc where there is one, else of the spheroid; along the major axis.
    axis_ratio : float
        Apparent minor over major axis of that component.
    inclination : float
        Of the disc: 0 is face-on, 90 edge-on.
    sersic_index, bulge_fraction, bulge_radius : float
        Of the bulge or spheroid: its index, its share of the r light and its half-light radius.
    bulge_boxiness : float
        Exponent of the bulge's generalised ellipse: 2 is an ellipse, more is boxy.
    bar_strength, bar_length : float
        Contrast of the bar and its half length.
    n_arms, pitch_angle, arm_strength : int, float, float
        Number, opening angle and contrast of the spiral arms.
    ring_strength, ring_radius : float
        Contrast and radius of a ring in the disc.
    young_fraction : float
        Share of the disc's r light from young stars, which follow the arms.
    old_g_r, old_r_z, young_g_r, young_r_z : float
        Colours of both populations, magnitudes.
    companion_flux_ratio, companion_distance, tail_strength : float
        Of a merger: companion over primary, its distance, and the tails' share of the light.
    artifact : str
        ``"trail"``, ``"star"``, ``"ghost"`` or empty.
    """

    object_id: str
    ra: float
    dec: float
    mag_r: float
    redshift: float
    petro_r50: float
    petro_r90: float
    kind: str
    half_light_radius: float
    axis_ratio: float
    position_angle: float
    sersic_index: float
    inclination: float = 0.0
    bulge_fraction: float = 1.0
    bulge_radius: float = 0.0
    bulge_boxiness: float = 2.0
    bar_strength: float = 0.0
    bar_length: float = 0.0
    bar_angle: float = 0.0
    n_arms: int = 0
    pitch_angle: float = 0.0
    arm_strength: float = 0.0
    arm_phase: float = 0.0
    ring_strength: float = 0.0
    ring_radius: float = 0.0
    young_fraction: float = 0.0
    old_g_r: float = 0.8
    old_r_z: float = 0.6
    young_g_r: float = 0.3
    young_r_z: float = 0.2
    companion_flux_ratio: float = 0.0
    companion_distance: float = 0.0
    companion_angle: float = 0.0
    tail_strength: float = 0.0
    artifact: str = ""
    artifact_angle: float = 0.0


_ARROW = {str: pa.string(), float: pa.float64(), int: pa.int64()}

TRUTH_SCHEMA = pa.schema([pa.field(f.name, _ARROW[f.type], nullable=False) for f in fields(Galaxy)])  # type: ignore[index]
"""Arrow schema of the truth table: the attributes of `Galaxy`."""


def young_share(galaxy: Galaxy) -> float:
    """Share of the object's r light that young stars give."""
    return (1 - galaxy.bulge_fraction) * galaxy.young_fraction


def magnitudes(galaxy: Galaxy) -> tuple[float, float, float]:
    """Total g, r and z magnitudes (AB), both populations together."""
    young = young_share(galaxy)
    flux_g = (1 - young) * 10 ** (-0.4 * galaxy.old_g_r) + young * 10 ** (-0.4 * galaxy.young_g_r)
    flux_z = (1 - young) * 10 ** (0.4 * galaxy.old_r_z) + young * 10 ** (0.4 * galaxy.young_r_z)
    mag_g, mag_z = (galaxy.mag_r - 2.5 * np.log10(flux) for flux in (flux_g, flux_z))
    return float(mag_g), galaxy.mag_r, float(mag_z)


def petrosian_radii(galaxy: Galaxy) -> tuple[float, float]:
    """Radii of 50 and 90 % of the Petrosian flux (Blanton+01: ratio 0.2, aperture 2 r_P).

    The profile is that of bulge and exponential disc seen face-on, with no seeing; a flattened
    image's circular radii are approximated by the mean of its axes. They are in the unit of the
    galaxy's lengths.
    """
    radius = np.geomspace(0.02, 12, 400) * galaxy.half_light_radius
    bulge = _enclosed(radius, galaxy.sersic_index, galaxy.bulge_radius)
    disc = _enclosed(radius, 1.0, galaxy.half_light_radius)
    flux = galaxy.bulge_fraction * bulge + (1 - galaxy.bulge_fraction) * disc
    local = np.gradient(flux, radius) / (2 * np.pi * radius)
    ratio = local / (flux / (np.pi * radius**2))
    petrosian = radius[np.argmax(ratio < 0.2)]
    total = np.interp(2 * petrosian, radius, flux)
    r50, r90 = np.interp((0.5 * total, 0.9 * total), flux, radius) * (1 + galaxy.axis_ratio) / 2
    return float(r50), float(r90)


def _enclosed(
    radius: npt.NDArray[np.float64], index: float, half_light_radius: float
) -> npt.NDArray[np.float64]:
    """Share of a Sérsic profile's light within ``radius`` (Graham & Driver 2005, eq. 2)."""
    b = gammaincinv(2 * index, 0.5)
    enclosed = gammainc(2 * index, b * (radius / half_light_radius) ** (1 / index))
    return np.asarray(enclosed, np.float64)
