"""Service ``sdss``: colour pictures (JPEG) of SDSS from SkyServer's image cutout service.

It has no FITS: the pictures are SkyServer's own gri colours, from 64 to 2048 pixels a side, and
``bands`` has no say. SDSS pixels are 0.396 arcsec; finer ones are interpolated. A picture does
not tell where it was taken, and a field that the survey covers in part is black in the rest.
"""

from dataclasses import replace
from urllib.parse import urlencode

from pydantic import Field

from galaxymill.surveys.base import Cutout, ServiceSettings, Target, cutout_of
from galaxymill.surveys.per_galaxy import PerGalaxyService
from galaxymill.surveys.validate import picture_of
from galaxymill.web.network import Url

_MIN_SIZE, _MAX_SIZE = 64, 2048


class SdssSettings(ServiceSettings):
    """Settings of the service ``sdss``."""

    size: int = Field(256, ge=_MIN_SIZE, le=_MAX_SIZE, description="width and height in pixels")
    release: str = Field("dr18", pattern=r"^dr\d+$", description="data release")
    server: Url = Field(
        "https://skyserver.sdss.org", description="SkyServer, or a mirror that speaks its protocol"
    )

    @property
    def sends_pictures(self) -> bool:
        """SkyServer has JPEG only."""
        return True


class SdssService(PerGalaxyService):
    """Ask ``SkyServerWS/ImgCutout/getjpeg`` for each galaxy."""

    _settings: SdssSettings

    def _cutout(self, target: Target) -> Cutout:
        if target.size < _MIN_SIZE:
            # SkyServer draws no fewer pixels: the field is spread over more.
            scale = target.pixel_scale * target.size / _MIN_SIZE
            target = replace(target, pixel_scale=scale, size=_MIN_SIZE)
        query = {
            **target.radec(),
            "scale": f"{target.pixel_scale:.6g}",
            "width": target.size,
            "height": target.size,
        }
        path = f"/{self._settings.release}/SkyServerWS/ImgCutout/getjpeg?{urlencode(query)}"
        return cutout_of(self._http.get(path, judge=picture_of(target)), target)
