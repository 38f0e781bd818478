"""Views in training and in use."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.models.views import central_view, dihedral_views, erase, random_view


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
    view = random_view(pixels, 80, (1.0, 1.0), 0.0, generator())
    assert view.shape == pixels.shape
    assert view.mean().item() == pytest.approx(pixels.mean().item(), rel=0.03)


def test_zoom_makes_a_galaxy_larger():
    pixels = blobs().float()
    areas = [
        (random_view(pixels, 80, (zoom, zoom), 0.0, generator()) > 100).float().mean()
        for zoom in (1, 2)
    ]
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.1)


def test_the_generator_decides_alone():
    pixels = torch.randint(0, 256, (4, 3, 40, 40), generator=generator(9), dtype=torch.uint8)
    torch.manual_seed(1)
    one = random_view(pixels, 32, (1.2, 1.4), 0.03, generator(5))
    torch.manual_seed(2)
    assert torch.equal(one, random_view(pixels, 32, (1.2, 1.4), 0.03, generator(5)))
    assert not torch.equal(one, random_view(pixels, 32, (1.2, 1.4), 0.03, generator(6)))


def test_views_are_images():
    pixels = torch.randint(0, 256, (4, 3, 40, 40), generator=generator(9), dtype=torch.uint8)
    view = random_view(pixels, 32, (1.2, 1.4), 0.03, generator())
    assert view.dtype == torch.float32
    assert view.min() >= 0
    assert view.max() <= 255
    assert not torch.equal(view[0], view[1])


def test_shift_moves_by_at_most_its_share():
    """The shift is along the image's axes, which the view then rotates."""
    pixels = blobs(n=200).float()
    view = random_view(pixels, 80, (1.0, 1.0), 0.1, generator())[:, 0]
    middle = torch.arange(80) - 39.5
    weight = view.sum((1, 2))
    centres = torch.stack(
        [(view.sum(1) * middle).sum(1) / weight, (view.sum(2) * middle).sum(1) / weight], dim=1
    )
    assert centres.min() < -7
    assert centres.max() > 7
    assert 9 < centres.norm(dim=1).max() < 8 * 2**0.5 + 0.2
    still = random_view(pixels, 80, (1.0, 1.0), 0.0, generator())
    assert torch.allclose(still, pixels, atol=2)


def test_the_eight_ways_are_the_square_s_symmetries():
    pixels = torch.arange(2 * 3 * 25).reshape(2, 3, 5, 5)
    views = list(dihedral_views(pixels, 8))
    assert torch.equal(views[0], pixels)
    assert len({view.numpy().tobytes() for view in views}) == 8
    closed = {v.numpy().tobytes() for view in views for v in dihedral_views(view, 8)}
    assert closed == {view.numpy().tobytes() for view in views}
    assert len(list(dihedral_views(pixels, 1))) == 1


@given(st.integers(0, 10**6), st.integers(8, 64))
def test_erasing_blacks_out_one_square_of_a_tenth_to_three_tenths(seed, size):
    pixels = torch.ones(4, 3, size, size)
    erased = erase(pixels, 1.0, generator(seed))
    for image in erased:
        assert torch.equal(image[0], image[1])
        rows, columns = (image[0] == 0).any(1).sum(), (image[0] == 0).any(0).sum()
        assert (image[0] == 0).sum() == rows * columns
        assert abs(int(rows) - int(columns)) <= 1
        assert 0.1 * size - 1 <= rows <= 0.3 * size + 1
    assert pixels.min() == 1


def test_erasing_touches_the_share_that_it_should():
    pixels = torch.ones(4000, 1, 10, 10).expand(-1, 3, -1, -1)
    erased = erase(pixels, 0.3, generator()).amin((1, 2, 3)) == 0
    assert erased.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(erase(pixels, 0.0, generator()), pixels)
