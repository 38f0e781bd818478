"""Views of galaxies: there is no up in the sky, and a cutout's scale is a convention."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor


def central_view(pixels: Tensor, size: int) -> Tensor:
    """Crop the middle of images (n, 3, h, w) to (n, 3, size, size)."""
    top = (pixels.shape[-2] - size) // 2
    left = (pixels.shape[-1] - size) // 2
    return pixels[..., top : top + size, left : left + size]


def dihedral_views(pixels: Tensor, count: int) -> Iterator[Tensor]:
    """Turn and reflect square images (n, 3, s, s): ``count`` of the 8 ways that need no resampling.

    The first is as they are, the first four are not reflected.
    """
    for way in range(count):
        reflected = pixels.flip(-1) if way >= 4 else pixels
        yield torch.rot90(reflected, way % 4, (-2, -1))


def random_view(
    pixels: Tensor,
    size: int,
    zoom: tuple[float, ...],
    shift: float,
    generator: torch.Generator,
    turned: bool = True,
    mirrored: bool = True,
) -> Tensor:
    """Rotate, flip, zoom and shift each image at random.

    Parameters
    ----------
    pixels : Tensor, shape (n, 3, h, w)
        uint8 or float.
    zoom : (low, high)
        The view shows 1/zoom of the image's width.
    shift : float
        Largest shift along each axis, as a share of the width.
    generator : torch.Generator
        On the CPU.
    turned : bool
        False: only zoom, for labels that say where in the image something is.
    mirrored : bool
        False: no reflection, for labels that tell clockwise from anticlockwise.

    Returns
    -------
    Tensor, shape (n, 3, size, size), float32
        0–255.
    """
    n = len(pixels)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle = draw(0, 2 * math.pi)
    width = 1 / draw(zoom[0], zoom[1])
    flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    shift_x, shift_y = draw(-2 * shift, 2 * shift), draw(-2 * shift, 2 * shift)
    if not (turned and mirrored):
        flip = flip.abs()
    if not turned:
        angle, shift_x, shift_y = angle * 0, shift_x * 0, shift_y * 0
    cos, sin = width * torch.cos(angle), width * torch.sin(angle)
    rows = [
        torch.stack([flip * cos, -sin, shift_x], dim=1),
        torch.stack([flip * sin, cos, shift_y], dim=1),
    ]
    matrices = torch.stack(rows, dim=1).to(pixels.device)
    grid = torch.nn.functional.affine_grid(matrices, [n, 3, size, size], align_corners=False)
    return torch.nn.functional.grid_sample(
        pixels.float(), grid, padding_mode="reflection", align_corners=False
    )


def erase(pixels: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Black out one square of some images (n, 3, s, s), a tenth to three tenths as wide (Zhong+20).

    ``probability`` is that of an image to have one; ``generator`` is on the CPU.
    """
    n, size = len(pixels), pixels.shape[-1]
    touched, width, top, left = torch.rand(4, n, generator=generator)
    width = size * (0.1 + 0.2 * width)
    places = torch.arange(size)
    rows = _within(places, (size - width) * top, width)
    columns = _within(places, (size - width) * left, width)
    patch = rows[:, :, None] & columns[:, None, :] & (touched < probability)[:, None, None]
    return pixels.masked_fill(patch[:, None].to(pixels.device), 0)


def _within(places: Tensor, start: Tensor, width: Tensor) -> Tensor:
    return (places >= start[:, None]) & (places < (start + width)[:, None])
