"""Archives that speak version 1 of SIA: a list of images, each with the address of its cutout."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from galaxymill.surveys.base import Target
from galaxymill.surveys.ivoa.obscore import Dataset
from galaxymill.surveys.ivoa.votable import (
    ArchiveError,
    asking,
    number,
    overflows,
    require_columns,
    rows_of,
    text,
)

if TYPE_CHECKING:
    import requests

    from galaxymill.surveys.services.sia import SiaSettings

_UCDS = {
    "access_url": "VOX:Image_AccessReference",
    "access_format": "VOX:Image_Format",
    "s_ra": "POS_EQ_RA_MAIN",
    "s_dec": "POS_EQ_DEC_MAIN",
    "title": "VOX:Image_Title",
}
"""What columns are known by, whatever they are called (SIA 1.0, section 4.2.2)."""
_SCIENCE = {"prodtype": ("", "image"), "proctype": ("", "stack")}
"""NOIRLab lists weights, masks and single exposures too; others have no such columns."""


def search(
    session: "requests.Session", wanted: "SiaSettings", target: Target, field_deg: float
) -> list[Dataset]:
    """Ask for the images that a field lies on, cut to it where the archive does that.

    The first word of the column ``band_column`` names the band. Raises ArchiveError when the
    archive does not answer, or has no such columns.
    """
    from pyvo.dal.sia import SIAResults

    # Written by hand: NOIRLab takes a comma that is encoded for no comma.
    mark = "&" if "?" in wanted.server else "?"
    place = f"POS={target.ra:.7f},{target.dec:.7f}&SIZE={field_deg:.7f},{field_deg:.7f}"
    url = f"{wanted.server.rstrip('?&')}{mark}{place}&FORMAT=image/fits"
    with asking("SIA1"):
        results = SIAResults.from_result_url(url, session=session)
        found = {name: results.fieldname_with_ucd(ucd) for name, ucd in _UCDS.items()}
        names = {name: (own or name).lower() for name, own in found.items()}
        rows = list(rows_of(results))
        overflow = overflows(results)
    if overflow:
        raise ArchiveError("more images than the archive lists", 200)
    band = wanted.band_column.lower()
    require_columns(rows, sorted({band, names["access_url"]}), "band_column")
    return [
        Dataset(
            did=text(row.get(names["title"])),
            access_url=text(row[names["access_url"]]),
            access_format=text(row.get(names["access_format"])) or "image/fits",
            ra=number(row.get(names["s_ra"])),
            dec=number(row.get(names["s_dec"])),
            band=text(row[band]).split(" ")[0],
        )
        for row in rows
        if _is_science(row)
    ]


def _is_science(row: Mapping[str, Any]) -> bool:
    return all(text(row.get(name)).lower() in allowed for name, allowed in _SCIENCE.items())
