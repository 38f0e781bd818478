"""Service ``legacy``: cutouts of the Legacy Surveys viewer (DECaLS, MzLS, BASS), FITS or JPEG.

For FITS it cannot tell a position outside the footprint from a broken server: both are HTTP 500.
Such a galaxy is asked for twice and then settled as ``no_coverage``, unless a footprint is
configured: inside it a 500 is a fault of the server. For JPEG the viewer draws
its own colours of the layer's own bands: ``bands`` has no say, and nothing in the answer tells
where it was taken. Inverse variances and mask bits are left out by the viewer where it draws from
down-scaled images, above about 0.37 arcsec per pixel; such cutouts are ``partial``.
"""

from itertools import islice
from typing import ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from galaxymill.images.decode import PayloadError, read_raster
from galaxymill.images.hdus import first_hdus, open_fits
from galaxymill.surveys.base import Cutout, Network, ServiceSettings, Target, Url
from galaxymill.surveys.http import Answer, Http
from galaxymill.surveys.per_galaxy import PerGalaxyService
from galaxymill.surveys.pictures import is_blank, picture
from galaxymill.surveys.validate import Verdict, check_payload

_INVVAR, _MASKBITS = "INVVAR", "MASKBITS"
_MAX_HDUS = 8
_MASK_BYTES = 4


class LegacySettings(ServiceSettings):
    """Settings of the service ``legacy``."""

    operational: ClassVar[frozenset[str]] = ServiceSettings.operational | {"server"}

    layer: str = Field("ls-dr9", pattern=r"^[\w.-]+$", description="layer of the viewer")
    format: Literal["fits", "jpeg"] = Field(
        "fits", description="fits: fluxes of the bands; jpeg: the viewer's own colours"
    )
    invvar: bool = Field(False, description="also fetch inverse variances (fits only)")
    maskbits: bool = Field(False, description="also fetch mask bits (fits only)")
    server: Url = Field(
        "https://www.legacysurvey.org",
        description="the viewer, or a mirror that speaks its protocol",
    )

    @model_validator(mode="after")
    def _pictures_have_no_extensions(self) -> Self:
        for name in ("invvar", "maskbits"):
            if self.sends_pictures and getattr(self, name):
                raise ValueError(f"{name}: only with format fits; leave it out or choose fits")
        return self

    @property
    def sends_pictures(self) -> bool:
        """Whether the cutouts are JPEG."""
        return self.format == "jpeg"

    @property
    def extensions(self) -> list[str]:
        """IMAGETYP of the HDUs that are asked for beside the image."""
        asked = {_INVVAR: self.invvar, _MASKBITS: self.maskbits}
        return [kind for kind, wanted in asked.items() if wanted]

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout of ``size`` pixels from above."""
        image = super().payload_bytes(size)
        return image * (1 + self.invvar) + size * size * _MASK_BYTES * self.maskbits


class LegacyService(PerGalaxyService):
    """Ask ``/viewer/fits-cutout`` or ``/viewer/jpeg-cutout`` for each galaxy."""

    def __init__(self, settings: LegacySettings, network: Network) -> None:
        self._settings = settings
        alive = None if settings.sends_pictures else self._alive
        http = Http(network, settings.server, max_bytes=settings.most_bytes(), alive=alive)
        super().__init__(http, settings)

    def _cutout(self, target: Target) -> Cutout:
        if self._settings.sends_pictures:
            return picture(self._http.get(self._jpeg_path(target)), target)
        return self._fits(target)

    def _fits(self, target: Target) -> Cutout:
        answer = self._http.get(self._fits_path(target), gives_up=self._off_footprint)
        if self._off_footprint(answer):
            return answer.cutout(target, "no_coverage", "server error twice: off the footprint")
        if answer.http_status != 200:
            return answer.cutout(target, "failed", answer.reason)
        verdict = self._check(answer.payload, target)
        return answer.cutout(target, verdict.status, verdict.reason)

    def _check(self, payload: bytes, target: Target) -> Verdict:
        verdict = check_payload(payload, target, self._settings.bands)
        asked = self._settings.extensions
        if not asked or verdict.status == "invalid":
            return verdict
        try:
            present = _extensions(payload, target.size, len(self._settings.bands))
        except PayloadError as error:
            return Verdict("invalid", str(error))
        absent = [f"no {kind}" for kind in asked if kind not in present]
        if not absent:
            return verdict
        return Verdict("partial", "; ".join(filter(None, [verdict.reason, *absent])))

    def _fits_path(self, target: Target) -> str:
        query = urlencode(self._query(target) | {"bands": "".join(self._settings.bands)})
        # Flags without a value, as the viewer documents them: it looks only for their names.
        flags = "".join(f"&{kind.lower()}" for kind in self._settings.extensions)
        return f"/viewer/fits-cutout?{query}{flags}"

    def _jpeg_path(self, target: Target) -> str:
        return f"/viewer/jpeg-cutout?{urlencode(self._query(target))}"

    def _query(self, target: Target) -> dict[str, object]:
        return {
            "ra": f"{target.ra:.7f}",
            "dec": f"{target.dec:.7f}",
            "layer": self._settings.layer,
            "pixscale": f"{target.pixel_scale:.6g}",
            "size": target.size,
        }

    def _off_footprint(self, answer: Answer) -> bool:
        """Off the footprint the viewer answers 500 every time: two are enough to believe it.

        Where a footprint is configured it has been asked already: a 500 inside is a fault.
        """
        is_known = self._settings.footprint is not None
        return answer.http_status == 500 and answer.repeats >= 2 and not is_known

    def _alive(self, answer: Answer) -> bool:
        """Tell a region off the footprint from a broken server.

        Off the footprint the JPEG of the same place is blank, not 500; where it shows the sky,
        FITS should have been had.
        """
        if answer.http_status != 500:
            return False
        path = answer.url.replace("/viewer/fits-cutout", "/viewer/jpeg-cutout", 1)
        picture = self._http.once("GET", path)
        return picture.http_status == 200 and not picture.cut and _is_blank(picture.payload)


def _is_blank(payload: bytes) -> bool:
    try:
        return is_blank(read_raster(payload))
    except PayloadError:
        return False


def _extensions(payload: bytes, size: int, bands: int) -> set[str]:
    """IMAGETYP of the HDUs behind the first that have the right shape; no pixel is decoded.

    Inverse variances have a plane a band, mask bits have one; a single plane may be 2-D or 3-D.
    """
    shapes = {_INVVAR: (bands, size, size), _MASKBITS: (1, size, size)}
    found: dict[str, tuple[int, ...]] = {}
    with open_fits(payload) as hdus:
        for hdu in islice(first_hdus(hdus), 1, _MAX_HDUS):
            place = hdu.fileinfo()
            if place["datLoc"] + place["datSpan"] > len(payload):
                raise PayloadError("FITS data end too early", truncated=True)
            if hdu.is_image:
                kind = str(hdu.header.get("IMAGETYP", "")).strip().upper()
                found[kind] = (1, *hdu.shape)[-3:]
    return {kind for kind, shape in shapes.items() if found.get(kind) == shape}
