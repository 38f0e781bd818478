"""FITS files of any usual form as cutouts: which image is which band, and one form for all.

A file that is a cutout as it stands stays as it is. Of any other the bands are found by the names
that its headers give, or by their order, and written as every cutout made here is.
"""

import io
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from galaxymill.decoding.decode import (
    MAX_PIXELS,
    PayloadError,
    band_names,
    check_data,
    has_bands,
    is_fits,
)
from galaxymill.decoding.hdus import MAX_HDUS, Hdu, is_auxiliary, list_hdus, unpack
from galaxymill.decoding.place import locate
from galaxymill.reasons import some
from galaxymill.sky.angles import separation_arcsec
from galaxymill.surveys.base import MAX_PAYLOAD_BYTES
from galaxymill.surveys.mosaics.mosaic import Plane, stack

Naming = Literal["header", "order"]

_MAIN = {"SCI", "SCIENCE", "IMAGE"}
_NO_BAND = re.compile(
    r"(SCI|SCIENCE|IMAGE|IMG|PRIMARY|COMPRESSED_IMAGE|DATA|FLUX)?[ _-]?\d*", re.IGNORECASE
)
"""EXTNAMEs that name no band."""
_ALIASES = re.compile(r"([^ _.]+)[ _.](?!alpha|beta)", re.I), re.compile(r".*[ _-](\w\w?$)")
"""The first word, as in "g DECam SDSS c0001 4720.0 1520.0", "i.MP9702" and "r_SDSS.res", and a last
one of one or two letters, as in "SDSS g", "SCI_G" and "HSC-G"."""
_WCS = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d{1,2}"
    r"|[AB]P?_(ORDER|\d_\d)|LONPOLE|LATPOLE|RADESYS|EQUINOX"
)
_APART_PIXELS = 0.5


@dataclass(frozen=True)
class Found:
    """A galaxy's cutout: its file, or one made of its files; absent bands; bands of other names."""

    payload: bytes
    lacking: str = ""
    renamed: str = ""


@dataclass(frozen=True, eq=False)
class _Source:
    """A plane of a file, and what it may be called.

    ``named``: by a card that names a band; ``titled``: by an EXTNAME, which may mean another thing.
    """

    hdu: Hdu
    plane: int
    names: tuple[str, ...]
    named: bool
    titled: bool = False

    def __str__(self) -> str:
        return self.names[0] if self.names else f"plane {self.plane} of HDU {self.hdu.index}"


def as_cutout(
    files: Mapping[str, bytes], bands: Sequence[str], naming: Naming = "header", hdu: str = ""
) -> Found:
    """Make a cutout of the files of one galaxy, by band; see `FilesSettings`.

    A file of all bands, which may be a picture, has the empty name. Raises PayloadError when a file
    is damaged or too large, or its bands cannot be identified.
    """
    planes: dict[str, Plane] = {}
    renamed: list[str] = []
    seen: list[str] = []
    for band, packed in files.items():
        payload = unpack(io.BytesIO(packed), MAX_PAYLOAD_BYTES).read()
        as_it_stands = not (band or hdu or naming == "order") and has_bands(payload, bands)
        if as_it_stands or not (band or is_fits(payload)):
            return Found(payload)
        try:
            hdus = list_hdus(io.BytesIO(payload))
            _require_end(hdus, payload)
            sources = list(_sources(hdus, hdu))
            chosen = _choose(sources, bands, band, naming, hdus)
            planes |= _read(chosen, payload)
        except PayloadError as error:
            where = f"file of band {band}: " if band else ""
            raise PayloadError(f"{where}{error}", error.truncated) from error
        renamed += [f"{name} is {source}" for name, source in chosen.items() if name != str(source)]
        seen += [str(source) for source in sources]
    _require_same_pixels(planes)
    absent = [band for band in bands if band not in planes]
    lacking = f"no band {', '.join(absent)}; in the files: {some(seen)}" if absent else ""
    return Found(stack(planes, bands, None), lacking, ", ".join(renamed))


def _require_end(hdus: Sequence[Hdu], payload: bytes) -> None:
    """Refuse a file that goes on behind its last HDU: one that was cut short, or is damaged."""
    check_data(payload, hdus[-1].start, hdus[-1].size, None)
    if len(hdus) < MAX_HDUS and payload[hdus[-1].start + hdus[-1].size :].strip(b"\0 "):
        raise PayloadError("FITS data do not end where the header says")


def _sources(hdus: Sequence[Hdu], wanted: str) -> Iterator[_Source]:
    """Yield the planes of the science images, or of the one that is wanted."""
    images = [hdu for hdu in hdus if hdu.shape]
    if wanted:
        images = [hdu for hdu in images if hdu.answers_to(wanted)]
    else:
        images = [hdu for hdu in images if not is_auxiliary(hdu.header)]
        images = [hdu for hdu in images if _is_main(hdu.header)] or images
    if not images:
        where = f" in HDU {wanted}" if wanted else ""
        raise PayloadError(f"no image{where}; the file holds {some(map(_about, hdus))}")
    alone = len(images) == 1
    for hdu in images:
        # An image that is alone is also described by the primary header.
        header = ChainMap(hdu.header, hdus[0].header) if alone else hdu.header
        count = hdu.shape[0] if hdu.shape else 0
        cards = [_text(header, key) for key in ("BAND", "FILTER") if count == 1]
        cards = list(filter(None, cards)) or band_names(header, count)
        title = [] if count > 1 or _NO_BAND.fullmatch(hdu.name) else [hdu.name]
        for plane in range(count):
            names = (*(cards if count == 1 else cards[plane : plane + 1]), *title)
            found = (pattern.match(name) for name in names for pattern in _ALIASES)
            names += tuple(word[1] for word in found if word)
            yield _Source(hdu, plane, names, bool(cards), bool(title) and not alone)


def _is_main(header: Mapping[str, Any]) -> bool:
    words = (re.split("[ _-]", _text(header, key).upper()) for key in ("EXTNAME", "IMAGETYP"))
    return any(first in _MAIN for first, *_ in words)


def _text(header: Mapping[str, Any], key: str) -> str:
    return str(header.get(key) or "").strip()


def _about(hdu: Hdu) -> str:
    """Describe an HDU: number, name and what it holds."""
    what = _text(hdu.header, "XTENSION").lower() or "no data"
    if hdu.shape:
        what = "×".join(str(length) for length in hdu.shape if length != 1)
    return f"{' '.join([str(hdu.index), hdu.name]).strip()} ({what})"


def _choose(
    sources: Sequence[_Source], bands: Sequence[str], band: str, naming: Naming, hdus: Sequence[Hdu]
) -> dict[str, _Source]:
    """Find the plane of each band, or of the one that the file is of, by name or by order."""
    names = [band] if band else bands
    found = _by_name(sources, bands) if naming == "header" else {}
    if chosen := {name: source for name, source in found.items() if name in names}:
        return chosen
    # The file of a band needs no name in its header, which must only not name another band.
    named = naming == "header" and (bool(found) if band else any(one.named for one in sources))
    unnamed = [source for source in sources if naming == "order" or not source.titled]
    primary = [source for source in unnamed if source.hdu.index == 0]
    for planes in (unnamed, primary):
        if len(planes) == len(names) and not named:
            return dict(zip(names, planes, strict=True))
    wish = f"the config asks for {', '.join(names)}"
    if named or len(unnamed) < len(sources):
        raise PayloadError(
            f"bands in the file: {some(map(str, sources))}; {wish}: give cutouts.bands as the "
            "file names them, or naming: order, or the hdu"
        )
    raise PayloadError(
        f"{len(sources)} planes without names (HDUs: {some(map(_about, hdus))}), but {wish}: "
        "give cutouts.bands a name for each plane in their order, or the hdu"
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
                    f"{some(map(str, sources))}; choose by hdu, or naming: order"
                )
            chosen[band] = fitting[0]
    return chosen


def _read(chosen: Mapping[str, _Source], payload: bytes) -> dict[str, Plane]:
    """Decode the planes of one file."""

    @cache
    def decode(hdu: Hdu) -> tuple[Any, Any]:
        check_data(payload, hdu.start, hdu.size, hdu.datasum)
        return hdu.read(), _wcs_cards(hdu.header)

    planes = {}
    for band, source in chosen.items():
        cube, header = decode(source.hdu)
        with np.errstate(all="ignore"):
            planes[band] = Plane(cube[source.plane].astype(np.float32), header, True)
    return planes


def _wcs_cards(header: Any) -> Any:
    """Cards of the celestial WCS, as they stand."""
    from astropy.io.fits import Header

    cards = header.cards if "CRPIX1" in header else []
    return Header([card for card in cards if _WCS.fullmatch(card.keyword)])


def _require_same_pixels(planes: Mapping[str, Plane]) -> None:
    """Refuse bands that differ in size or place, which would be drawn on top of each other."""
    (first, plane), *others = planes.items()
    height, width = plane.data.shape
    if len(planes) * plane.data.size > MAX_PIXELS:
        raise PayloadError(f"{len(planes)} bands of {width}×{height} pixels are too large")
    for band, other in others:
        if other.data.shape != plane.data.shape:
            sides = "×".join(map(str, other.data.shape[::-1]))
            raise PayloadError(f"band {band} is {sides} pixels, but {first} {width}×{height}")
        off = _apart_pixels(plane, other)
        if off > _APART_PIXELS:
            raise PayloadError(
                f"band {band} lies on other pixels than {first}, {off:.1f} pixels apart"
            )


def _apart_pixels(plane: Plane, other: Plane) -> float:
    """Pixels between the corners of two images, from above; 0 where their place is not known."""
    height, width = plane.data.shape
    if other.header is plane.header:
        return 0.0
    here, there = (locate(each.header, width, height) for each in (plane, other))
    if here is None or there is None:
        return 0.0
    centres = separation_arcsec(here.ra, here.dec, there.ra, there.dec)
    turned = np.abs(np.subtract(here.axes, there.axes)).sum() * max(height, width) / 2
    return float(centres + turned) / here.pixel_scale
