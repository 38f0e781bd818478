"""Tell whether the JPEG or PNG that a service sent is a picture of the sky."""

from galaxymill.decoding.decode import PayloadError, is_fits, read_raster
from galaxymill.surveys.base import Target
from galaxymill.web.answer import Judge, Verdict


def check_picture(payload: bytes, target: Target) -> Verdict:
    """Check the bytes of one answer.

    A picture does not say where it was taken: the service's word is all there is.

    Parameters
    ----------
    payload : bytes
        JPEG, PNG or WebP.
    target : Target
        What was asked for.

    Returns
    -------
    Verdict
        ``ok``; ``no_coverage`` when all pixels are of one colour, as services draw them off their
        footprint; ``invalid`` when it cannot be decoded or has another size.
    """
    try:
        if is_fits(payload):
            raise PayloadError("a FITS file, not a picture")
        image = read_raster(payload)
    except PayloadError as error:
        return Verdict("invalid", str(error), error.truncated)
    if image.shape[:2] != (target.size, target.size):
        return Verdict("invalid", f"image is {image.shape[1]}×{image.shape[0]}, not {target.size}")
    if (image == image[0, 0]).all():
        return Verdict("no_coverage", "the picture is blank: off the footprint")
    return Verdict("ok")


def picture_of(target: Target) -> Judge:
    """Make the judge of answers that should be pictures of ``target``; see `Http.ask`."""
    return lambda answer: check_picture(answer.payload, target)
