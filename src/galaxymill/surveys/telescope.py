"""What a survey's telescope and exposures make of the sky: its seeing and its depth, by band."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from galaxymill.settings import Settings, parse_json

Seeing = Annotated[
    dict[str, Annotated[float, Field(gt=0, le=60)]],
    BeforeValidator(parse_json),
]
"""Full width at half maximum of point sources by band, arcsec; on the command line JSON."""

Depth = Annotated[
    dict[str, Annotated[float, Field(ge=5, le=40)]],
    BeforeValidator(parse_json),
]
"""Magnitude (AB) of a point source of five times its noise by band; on the command line JSON."""


class Telescope(Settings):
    """How a survey shows a point source, and how deep it is."""

    seeing: Seeing = Field({}, description="FWHM of point sources by band, arcsec: {g: 1.3}")
    depth: Depth = Field(
        {}, description="5 sigma depth for point sources by band, AB magnitudes: {g: 24.7}"
    )
    beta: float = Field(
        3.0, gt=1, le=100, description="index of the Moffat profile of point sources"
    )
