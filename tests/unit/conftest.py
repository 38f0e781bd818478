"""Fixtures of the unit tests."""

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import settings

# Cores are shared where tests run: an example may take its time, the number of them is bounded.
settings.register_profile("galaxymill", deadline=None)
settings.load_profile("galaxymill")


def write_fits(data, bands="grz", ra=150.0, dec=2.0, scale=0.262):
    """Write ``data`` as the Legacy Surveys viewer does; ``bands=None`` leaves them unnamed."""
    hdu = fits.PrimaryHDU(data)
    for axis, (kind, value, sign) in enumerate((("RA---", ra, -1), ("DEC--", dec, 1)), start=1):
        hdu.header[f"CTYPE{axis}"] = f"{kind}TAN"[-8:]
        hdu.header[f"CRVAL{axis}"] = value
        hdu.header[f"CRPIX{axis}"] = (data.shape[-axis] + 1) / 2
        hdu.header[f"CD{axis}_{axis}"] = sign * scale / 3600
    if bands is not None:
        hdu.header["BANDS"] = bands
    file = io.BytesIO()
    hdu.writeto(file)
    return file.getvalue()


@pytest.fixture(scope="session")
def make_fits():
    """A function that writes arrays as FITS cutouts."""
    return write_fits


@pytest.fixture(scope="session")
def cutout(make_fits):
    """A good cutout in g, r, z of 32 pixels, centred at (150, 2)."""
    noise = np.random.default_rng(1).normal(0.01, 0.01, (3, 32, 32))
    return make_fits(noise.astype(np.float32))
