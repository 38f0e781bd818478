"""FITS files of any usual form as cutouts: which image is which band, and one form for all.

A file that is a cutout as it stands stays as it is. Of any other the bands are found by the names
that its headers give, or by their order, and written as every cutout made here is.
"""

import io
import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from galaxymill.images.decode import (
    MAX_PIXELS,
    FormError,
    PayloadError,
    band_names,
    is_fits,
    ones_complement_sum,
    read_bands,
    read_fits,
)
from galaxymill.images.hdus import Hdu, is_auxiliary, open_hdus, unpack
from galaxymill.images.place import Place, locate, separation_arcsec
from galaxymill.surveys.base import MAX_PAYLOAD_BYTES
from galaxymill.surveys.mosaics.mosaic import Plane, stack

Naming = Literal["header", "order"]

_MAIN = {"SCI", "SCIENCE", "IMAGE"}
_NO_BAND = re.compile(
    r"(SCI|SCIENCE|IMAGE|IMG|PRIMARY|COMPRESSED_IMAGE|DATA|FLUX)?[ _-]?\d*", re.IGNORECASE
)
"""EXTNAMEs that name no band."""
_WCS = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d{1,2}"
    r"|[AB]P?_(ORDER|\d_\d)|LONPOLE|LATPOLE|RADESYS|EQUINOX"
)
_APART_PIXELS = 0.5
_SHOWN = 12


@dataclass(frozen=True)
class Found:
    """What files hold of the bands that were asked for.

    Attributes
    ----------
    payload : bytes
        The file itself, unpacked, when it is a cutout as it stands; else a cutout made of it.
    lacking : str
        Which bands are not there, and which are; empty when all are.
    told : str
        Which band has another name, or none, in the files; empty when all are as asked.
    """

    payload: bytes
    lacking: str = ""
    told: str = ""


@dataclass(frozen=True, eq=False)
class _Source:
    """A plane of a file: the bands it may be, as the file says, and whether it says so surely."""

    hdu: Hdu
    plane: int
    names: tuple[str, ...]
    named: bool

    def __str__(self) -> str:
        return self.names[0] if self.names else f"plane {self.plane} of HDU {self.hdu.index}"


def as_cutout(
    files: Mapping[str, bytes], bands: Sequence[str], naming: Naming = "header", hdu: str = ""
) -> Found:
    """Make a cutout of the files of one galaxy.

    Parameters
    ----------
    files : mapping of str to bytes
        By band; one file for all bands, which may be a picture, under the empty name.
    bands : sequence of str
        Those that are asked for.
    naming : str
        ``header``: planes are named by their headers where these have names, else by ``bands`` in
        their order; ``order``: always by ``bands``.
    hdu : str
        Number or EXTNAME of the image; empty to look for it.

    Raises
    ------
    PayloadError
        When a file is damaged or too large, or it is not known which band is which; the message
        lists what there is.
    """
    planes: dict[str, Plane] = {}
    told: list[str] = []
    seen: list[str] = []
    for band, packed in files.items():
        unpacked = unpack(io.BytesIO(packed), MAX_PAYLOAD_BYTES)
        payload = packed if unpacked is None else unpacked
        if not (band or hdu or naming == "order") and _is_cutout(payload, bands):
            return Found(payload)
        if not is_fits(payload):
            if band:
                raise PayloadError(f"the file of band {band} is no FITS file")
            return Found(payload)
        try:
            with open_hdus(payload) as hdus:
                sources = list(_sources(hdus, hdu))
                chosen = _choose(sources, [band] if band else bands, naming, hdus)
                planes |= _read(chosen)
        except PayloadError as error:
            where = f"file of band {band}: " if band else ""
            raise PayloadError(f"{where}{error}", error.truncated) from error
        told += [f"{name} is {source}" for name, source in chosen.items() if name != str(source)]
        seen += [str(source) for source in sources]
    _require_same_pixels(planes)
    absent = [band for band in bands if band not in planes]
    lacking = f"no band {', '.join(absent)}; in the files: {_some(seen)}" if absent else ""
    return Found(stack(planes, bands, None), lacking, ", ".join(told))


def _is_cutout(payload: bytes, bands: Sequence[str]) -> bool:
    """Tell whether a file is a cutout with these bands as it stands; whoever keeps it checks it."""
    if not is_fits(payload):
        return False
    try:
        if set(bands) <= set(read_bands(payload)):
            return True
        read_fits(payload)
    except FormError:
        pass
    return False


def _sources(hdus: Sequence[Hdu], wanted: str) -> Iterator[_Source]:
    """Give the planes of the science images, or of the one that is wanted."""
    images = [hdu for hdu in hdus if hdu.shape]
    if wanted:
        images = [hdu for hdu in images if wanted.upper() in (str(hdu.index), hdu.name.upper())]
    else:
        images = [hdu for hdu in images if not is_auxiliary(hdu.header)]
        images = [hdu for hdu in images if _kinds(hdu) & _MAIN] or images
    if not images:
        where = f" in HDU {wanted}" if wanted else ""
        raise PayloadError(f"no image{where}; the file holds {_some(map(_about, hdus))}")
    for hdu in images:
        alone = len(images) == 1
        # An image that is alone is also described by the primary header.
        header = ChainMap(hdu.header, hdus[0].header) if alone else hdu.header
        assert hdu.shape is not None
        if hdu.shape[0] > 1:
            names = band_names(header, hdu.shape[0])
            for plane in range(hdu.shape[0]):
                yield _Source(hdu, plane, tuple(names[plane : plane + 1]), bool(names))
            continue
        cards = [name for key in ("BAND", "FILTER") if (name := _text(header, key))]
        cards = cards or band_names(header, 1)
        extname = [] if _NO_BAND.fullmatch(hdu.name) else [hdu.name]
        yield _Source(hdu, 0, (*cards, *extname), bool(cards or (extname and not alone)))


def _kinds(hdu: Hdu) -> set[str]:
    return {_text(hdu.header, key).upper() for key in ("EXTNAME", "IMAGETYP")}


def _text(header: Mapping[str, Any], key: str) -> str:
    return str(header.get(key) or "").strip()


def _about(hdu: Hdu) -> str:
    """Describe an HDU: number, name and what it holds."""
    kind = _text(hdu.header, "XTENSION").lower()
    what = kind if "table" in kind else "no data"
    if hdu.shape:
        what = "×".join(str(length) for length in hdu.shape if length != 1)
    elif kind != "" and what == "no data":
        what = "no image that can be read"
    return f"{hdu.index} {hdu.name} ({what})".replace("  ", " ")


def _choose(
    sources: Sequence[_Source], bands: Sequence[str], naming: Naming, hdus: Sequence[Hdu]
) -> dict[str, _Source]:
    """Find the plane of each band, by name or by order."""
    chosen = _by_name(sources, bands) if naming == "header" else {}
    if chosen:
        return chosen
    asked = f"the config asks for {', '.join(bands)}"
    if naming == "header" and any(source.named for source in sources):
        raise PayloadError(
            f"bands in the file: {_some(map(str, sources))}; {asked}: give cutouts.bands as the "
            "file names them, or naming: order"
        )
    primary = [source for source in sources if source.hdu.index == 0]
    for planes in (sources, primary):
        if len(planes) == len(bands):
            return dict(zip(bands, planes, strict=True))
    raise PayloadError(
        f"{len(sources)} planes without names (HDUs: {_some(map(_about, hdus))}), but {asked}: "
        "give cutouts.bands a name for each plane in their order, or cutouts.hdu"
    )


def _by_name(sources: Sequence[_Source], bands: Sequence[str]) -> dict[str, _Source]:
    """Match names as they are; then, where only one would fit, without regard to case."""
    chosen: dict[str, _Source] = {}
    for alike in (str, str.casefold):
        for band in bands:
            fitting = [source for source in sources if alike(band) in map(alike, source.names)]
            taken = set(fitting) & set(chosen.values())
            if band in chosen or not fitting or (taken and alike is str.casefold):
                continue
            if len(fitting) > 1 or taken:
                raise PayloadError(
                    f"it is not clear which plane is band {band}: in the file are "
                    f"{_some(map(str, sources))}; choose one by cutouts.hdu"
                )
            chosen[band] = fitting[0]
    return chosen


def _read(chosen: Mapping[str, _Source]) -> dict[str, Plane]:
    """Decode the planes of one file."""
    hdus = {source.hdu.index: source.hdu for source in chosen.values()}
    for hdu in hdus.values():
        if hdu.datasum and int(hdu.datasum) != ones_complement_sum(hdu.stored):
            raise PayloadError(f"FITS data of HDU {hdu.index} do not add up to their DATASUM")
    cubes = {index: hdu.read() for index, hdu in hdus.items()}
    headers = {index: _wcs_cards(hdu.header) for index, hdu in hdus.items()}
    with np.errstate(all="ignore"):
        return {
            band: Plane(
                cubes[source.hdu.index][source.plane].astype(np.float32),
                headers[source.hdu.index],
                True,
            )
            for band, source in chosen.items()
        }


def _wcs_cards(header: Any) -> Any:
    """Cards of the celestial WCS, as they stand."""
    from astropy.io.fits import Header

    if "CRPIX1" not in header:
        return Header()
    return Header([card for card in header.cards if _WCS.fullmatch(card.keyword)])


def _require_same_pixels(planes: Mapping[str, Plane]) -> None:
    """Refuse bands that differ in size or place, which would be drawn on top of each other."""
    (first, plane), *others = planes.items()
    height, width = plane.data.shape
    if len(planes) * height * width > MAX_PIXELS:
        raise PayloadError(f"{len(planes)} bands of {width}×{height} pixels are too large")
    for band, other in others:
        if other.data.shape != plane.data.shape:
            sides = other.data.shape
            raise PayloadError(
                f"band {band} is {sides[1]}×{sides[0]} pixels, but {first} {width}×{height}"
            )
        if other.header is not plane.header:
            places = [locate(each.header, width, height) for each in (plane, other)]
            off = _apart(places[0], places[1], max(width, height))
            if off > _APART_PIXELS:
                raise PayloadError(
                    f"band {band} lies on other pixels than {first}: {off:.1f} pixels apart"
                )


def _apart(one: Place | None, other: Place | None, side: int) -> float:
    """Pixels between the corners of two images, from above; 0 where their place is not known."""
    if one is None or other is None:
        return 0.0
    centres = separation_arcsec(one.ra, one.dec, other.ra, other.dec)
    turned = np.abs(np.subtract(one.axes, other.axes)).sum() * side / 2
    return float(centres + turned) / one.pixel_scale


def _some(items: Iterable[str]) -> str:
    shown = list(items)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
