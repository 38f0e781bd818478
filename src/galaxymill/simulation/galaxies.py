"""Cutouts of the demo sky: light, seeing, noise and a TAN projection."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from threading import Lock

import galsim
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import fft

from galaxymill.simulation.morphology import BANDS, Map, components
from galaxymill.simulation.sky import generator
from galaxymill.simulation.truth import Galaxy

SEEING_ARCSEC = {"g": 1.3, "r": 1.2, "z": 1.1}
"""Full width at half maximum of the point-spread function."""

NOISE_PER_ARCSEC = {"g": 0.015, "r": 0.025, "z": 0.060}
"""Sky noise in nanomaggies of a 1 arcsec pixel; it grows as the pixel's side.

About the DECaLS depth: 5 sigma point sources of g 24.7, r 23.9, z 23.0 (Dey+19, table 4).
"""

FLUX_PER_COUNT = 2e-4
"""Nanomaggies a photon stands for; sets the galaxies' own Poisson noise."""

REACH = 4.5
"""Half side of a galaxy's stamp in units of its petro_r90: as far as its light is drawn."""

SAMPLE_ARCSEC, MOST_SAMPLES = 0.25, 3
"""Spacing of the samples that pixels are made of, and how many a pixel's side has at most."""

_galsim_lock = Lock()


def render(
    truth: pa.Table,
    ra: float,
    dec: float,
    pixel_scale: float,
    size: int | tuple[int, int],
    bands: Sequence[str] = BANDS,
    *,
    seed: int = 1,
    noise: bool = True,
    seeing: Mapping[str, float] = SEEING_ARCSEC,
    noise_scale: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Observe a field: all objects that reach into it, blurred, with the sky's noise.

    Parameters
    ----------
    truth : pyarrow.Table
        From `galaxymill.simulation.sky.simulate_sky`.
    ra, dec : float
        Centre of the field, degrees.
    pixel_scale : float
        Side of a pixel, arcsec.
    size : int or tuple of int
        Side in pixels, or (height, width).
    seed : int
        Of the noise, which depends on it and on this request alone.
    seeing : mapping of str to float
        Full width at half maximum of the point-spread function by band, arcsec.
    noise_scale : float
        How many times `NOISE_PER_ARCSEC` the sky's noise is.

    Returns
    -------
    ndarray, shape (n_bands, height, width), float32
        Nanomaggies per pixel, sky subtracted, y up and right ascension growing to lower x. The
        field's centre is at pixel ((width + 1) / 2, (height + 1) / 2) in the FITS convention.
    """
    height, width = (size, size) if isinstance(size, int) else size
    image = np.zeros((len(bands), height, width), np.float32)
    xi, eta = tangent_plane(truth["ra"].to_numpy(), truth["dec"].to_numpy(), ra, dec)
    # Right ascension grows to the left, so x in pixels runs against xi.
    column, row = (width - 1) / 2 - xi / pixel_scale, (height - 1) / 2 + eta / pixel_scale
    reach = REACH * truth["petro_r90"].to_numpy() / pixel_scale + 1
    inside = (column > -reach) & (column < width + reach) & (row > -reach) & (row < height + reach)
    widths = {band: float(seeing[band]) for band in bands}
    for index in np.flatnonzero(inside):
        galaxy = Galaxy(**truth.slice(index, 1).to_pylist()[0])
        _add(image, galaxy, float(column[index]), float(row[index]), pixel_scale, widths)
    if noise:
        sky = {band: NOISE_PER_ARCSEC[band] * noise_scale for band in bands}
        _add_noise(image, sky, float(pixel_scale), seed, (float(ra), float(dec), height, width))
    return image


def tangent_plane(
    ra: npt.NDArray[np.float64], dec: npt.NDArray[np.float64], ra0: float, dec0: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Gnomonic projection (Calabretta & Greisen 2002, eqs 12-13 and 54).

    Gives the offsets of positions (degrees) from the tangent point ``ra0``, ``dec0`` to the east
    and to the north, arcsec; infinite on the far hemisphere.
    """
    lon, lat, lat0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    depth = np.sin(lat) * np.sin(lat0) + np.cos(lat) * np.cos(lat0) * np.cos(lon)
    east = np.cos(lat) * np.sin(lon)
    north = np.sin(lat) * np.cos(lat0) - np.cos(lat) * np.sin(lat0) * np.cos(lon)
    scale = np.degrees(3600 / np.where(depth > 0, depth, 1))
    return np.where(depth > 0, east * scale, np.inf), np.where(depth > 0, north * scale, np.inf)


def _add(
    image: Map,
    galaxy: Galaxy,
    column: float,
    row: float,
    scale: float,
    seeing: Mapping[str, float],
) -> None:
    """Draw a galaxy, centred at 0-based pixel (column, row), onto a plane a band of seeing."""
    half = int(np.ceil(REACH * galaxy.petro_r90 / scale))
    side = 2 * half + 1
    x0, y0 = round(column) - half, round(row) - half
    left, right = max(x0, 0), min(x0 + side, image.shape[2])
    low, high = max(y0, 0), min(y0 + side, image.shape[1])
    if left >= right or low >= high:
        return
    fine = min(int(np.ceil(scale / SAMPLE_ARCSEC)), MOST_SAMPLES)
    steps = (np.arange(side * fine) + 0.5) / fine - 0.5
    x, y = np.meshgrid(
        ((steps + x0 - column) * scale).astype(np.float32),
        ((steps + y0 - row) * scale).astype(np.float32),
    )
    parts = [
        (part.light.reshape(side, fine, side, fine).sum(axis=(1, 3)), part.flux)
        for part in components(galaxy, x, y)
    ]
    padded = fft.next_fast_len(side + half, real=True)
    spectra = [(fft.rfft2(light, (padded, padded)), flux) for light, flux in parts]
    for plane, (band, fwhm) in zip(image, seeing.items(), strict=True):
        index = BANDS.index(band)
        total = sum(spectrum * np.float32(flux[index]) for spectrum, flux in spectra)
        blurred = fft.irfft2(total * _psf_spectrum(fwhm, scale, padded), (padded, padded))
        plane[low:high, left:right] += blurred[low - y0 : high - y0, left - x0 : right - x0]


@lru_cache(maxsize=256)
def _psf_spectrum(fwhm: float, scale: float, side: int) -> npt.NDArray[np.complex64]:
    """Fourier transform of the point-spread function, its centre at pixel (0, 0)."""
    odd = side - 1 + side % 2
    psf = galsim.Moffat(beta=3.0, fwhm=fwhm)
    with _galsim_lock:  # GalSim's caches are not made for threads.
        kernel = psf.drawImage(nx=odd, ny=odd, scale=scale, method="no_pixel").array
    centred = np.zeros((side, side), np.float32)
    centred[:odd, :odd] = kernel / kernel.sum()
    spectrum: npt.NDArray[np.complex64] = fft.rfft2(np.roll(centred, -(odd // 2), (0, 1)))
    return spectrum


def _add_noise(
    image: Map, noise: Mapping[str, float], scale: float, seed: int, request: tuple[object, ...]
) -> None:
    for plane, (band, per_arcsec) in zip(image, noise.items(), strict=True):
        rng = generator(seed, "noise", *request, scale, band)
        sky = (per_arcsec * scale) ** 2
        sigma = np.sqrt(sky + FLUX_PER_COUNT * np.maximum(plane, 0))
        plane += sigma * rng.standard_normal(plane.shape, dtype=np.float32)
