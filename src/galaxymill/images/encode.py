"""An image as a file: resized and compressed, the same bytes for the same pixels."""

import io

import numpy as np
import numpy.typing as npt

from galaxymill.images.settings import RecipeSettings


def encode(colour: npt.NDArray[np.uint8], settings: RecipeSettings) -> bytes:
    """Resize (antialiased Lanczos) and encode one image, shape (height, width, 3).

    Gives a JPEG file, or a PNG or WebP file without loss.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(colour))
    if image.size != (settings.size, settings.size):
        image = image.resize((settings.size, settings.size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    match settings.format:
        case "jpeg":
            image.save(file, "JPEG", quality=settings.quality)
        case "png":
            image.save(file, "PNG")
        case "webp":
            image.save(file, "WEBP", lossless=True)
    return file.getvalue()
