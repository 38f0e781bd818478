"""Views in training and in use."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.models.views import central_view, random_view


def blobs(n=6, side=80):
    """Round galaxies, well inside the frame."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    disc = 200 * np.exp(-(x**2 + y**2) / (2 * 6**2))
    return torch.from_numpy(np.tile(disc, (n, 3, 1, 1))).to(torch.uint8)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 40), st.integers(0, 20))
def test_central_view_is_the_middle(size, rim):
    full = size + 2 * rim
    pixels = torch.arange(3 * full * full).reshape(1, 3, full, full)
    view = central_view(pixels, size)
    assert torch.equal(view, pixels[..., rim : rim + size, rim : rim + size])


def test_central_view_of_the_whole_is_the_whole():
    pixels = blobs(side=33)
    assert torch.equal(central_view(pixels, 33), pixels)


def test_mean_flux_is_kept():
    pixels = blobs().float()
    view = random_view(pixels, 80, (1.0, 1.0), generator())
    assert view.shape == pixels.shape
    assert view.mean().item() == pytest.approx(pixels.mean().item(), rel=0.03)


def test_zoom_makes_a_galaxy_larger():
    pixels = blobs().float()
    areas = [
        (random_view(pixels, 80, (zoom, zoom), generator()) > 100).float().mean() for zoom in (1, 2)
    ]
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.1)


def test_the_generator_decides_alone():
    pixels = torch.randint(0, 256, (4, 3, 40, 40), generator=generator(9), dtype=torch.uint8)
    torch.manual_seed(1)
    one = random_view(pixels, 32, (1.2, 1.4), generator(5))
    torch.manual_seed(2)
    assert torch.equal(one, random_view(pixels, 32, (1.2, 1.4), generator(5)))
    assert not torch.equal(one, random_view(pixels, 32, (1.2, 1.4), generator(6)))


def test_views_are_images():
    pixels = torch.randint(0, 256, (4, 3, 40, 40), generator=generator(9), dtype=torch.uint8)
    view = random_view(pixels, 32, (1.2, 1.4), generator())
    assert view.dtype == torch.float32
    assert view.min() >= 0
    assert view.max() <= 255
    assert not torch.equal(view[0], view[1])
