"""Service ``legacy``: cutouts of the Legacy Surveys viewer (DECaLS, MzLS, BASS), FITS or JPEG.

For FITS it cannot tell a position outside the footprint from a broken server: both are HTTP 500.
The JPEG of the same place can: blank, it is the viewer's word that it has no image there; where it
shows the sky, or cannot be had either, the 500 is a fault. An unknown layer is the text "no such
layer" with HTTP 200. For JPEG the viewer draws its own colours of the layer's own bands: ``bands``
has no say, and nothing in the answer tells where it was taken. Inverse variances and mask bits are
left out by the viewer where it draws from down-scaled images, above about 0.37 arcsec per pixel;
such cutouts are ``partial``.
"""

import io
from typing import Literal, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from galaxymill.decoding.hdus import list_hdus
from galaxymill.surveys.base import Cutout, ServiceSettings, Target, cutout_of
from galaxymill.surveys.per_galaxy import PerGalaxyService
from galaxymill.surveys.validate import check_payload, check_picture, picture_of
from galaxymill.web.answer import Answer, Judge, Verdict
from galaxymill.web.network import Url

_INVVAR, _MASKBITS = "INVVAR", "MASKBITS"
_NO_LAYER = b"no such layer"
_MASK_BYTES = 4


class LegacySettings(ServiceSettings):
    """Settings of the service ``legacy``."""

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
        chosen = {_INVVAR: self.invvar, _MASKBITS: self.maskbits}
        return [kind for kind, is_so in chosen.items() if is_so]

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout, extensions included, from above."""
        image = super().payload_bytes(size)
        return image * (1 + self.invvar) + size * size * _MASK_BYTES * self.maskbits


class LegacyService(PerGalaxyService):
    """Ask ``/viewer/fits-cutout`` or ``/viewer/jpeg-cutout`` for each galaxy."""

    _settings: LegacySettings

    def _cutout(self, target: Target) -> Cutout:
        path, check = self._jpeg_path(target), check_picture
        otherwise: Judge = _no_layer
        if not self._settings.sends_pictures:
            path, check, otherwise = self._fits_path(target), self._check, self._fault_at(target)

        def judge(answer: Answer) -> Verdict:
            return _no_layer(answer) or check(answer.payload, target)

        return cutout_of(self._http.get(path, judge=judge, otherwise=otherwise), target)

    def _fault_at(self, target: Target) -> Judge:
        """Make the judge of faults, which after a 500 looks at the picture of the same place."""
        shows_sky = False

        def judge(answer: Answer) -> Verdict | None:
            nonlocal shows_sky
            if answer.http_status != 500 or shows_sky:
                return _no_layer(answer)
            picture = self._http.once("GET", self._jpeg_path(target))
            picture = picture.judged(picture_of(target), set())
            if picture.failed:
                self._http.note(picture)
            shows_sky = picture.verdict.status == "ok"
            if picture.verdict.status != "no_coverage":
                return None
            return Verdict("no_coverage", f"HTTP 500, and {picture.why}")

        return judge

    def _check(self, payload: bytes, target: Target) -> Verdict:
        verdict = check_payload(payload, target, self._settings.bands)
        if not self._settings.extensions or verdict.status == "invalid":
            return verdict
        present = _extensions(payload, target.size, len(self._settings.bands))
        absent = [f"no {kind}" for kind in self._settings.extensions if kind not in present]
        if not absent:
            return verdict
        return Verdict("partial", "; ".join(filter(None, [verdict.reason, *absent])))

    def _fits_path(self, target: Target) -> str:
        # Flags without a value, as the viewer documents them: it looks only for their names.
        flags = "".join(f"&{kind.lower()}" for kind in self._settings.extensions)
        bands = urlencode({"bands": "".join(self._settings.bands)})
        return f"/viewer/fits-cutout?{self._query(target)}&{bands}{flags}"

    def _jpeg_path(self, target: Target) -> str:
        return f"/viewer/jpeg-cutout?{self._query(target)}"

    def _query(self, target: Target) -> str:
        scale = f"{target.pixel_scale:.6g}"
        query = {"layer": self._settings.layer, "pixscale": scale, "size": target.size}
        return urlencode({**target.radec(), **query})


def _no_layer(answer: Answer) -> Verdict | None:
    if answer.payload[: len(_NO_LAYER)].lower() != _NO_LAYER:
        return None
    return Verdict("failed", f"'{_NO_LAYER.decode()}'", refused=True)


def _extensions(payload: bytes, size: int, bands: int) -> set[str]:
    """IMAGETYP of the HDUs behind the first that have the right shape, 2-D or 3-D."""
    shapes = {_INVVAR: (bands, size, size), _MASKBITS: (1, size, size)}
    found = {
        str(hdu.header.get("IMAGETYP", "")).strip().upper(): hdu.shape
        for hdu in list_hdus(io.BytesIO(payload))[1:]
    }
    return {kind for kind, shape in shapes.items() if found.get(kind) == shape}
