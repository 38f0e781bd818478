"""How a dataset is cut: what its DataLink tells of the archive's SODA service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from galaxymill.surveys.base import Target
from galaxymill.surveys.ivoa.votable import ArchiveError, number, rows_of, shorten, text

_SODA = "ivo://ivoa.net/std/soda#sync-1"
_AXES = {"ID", "CIRCLE", "POLYGON", "POS", "RANGE", "BAND", "TIME", "POL"}


@dataclass(frozen=True)
class Cutter:
    """How a SODA service is asked.

    Attributes
    ----------
    url : str
        Where it is.
    shape : str
        ``CIRCLE`` or ``POS``, whichever it understands.
    constants : mapping of str to str
        Parameters that its descriptor fixes.
    """

    url: str
    shape: str = "CIRCLE"
    constants: Mapping[str, str] = field(default_factory=dict)

    def request(self, identifier: str, target: Target, radius_deg: float) -> str:
        """Spell the request for a circle around a galaxy (SODA 1.0, section 3.3)."""
        circle = f"{target.ra:.7f} {target.dec:.7f} {radius_deg:.7f}"
        if self.shape == "POS":
            circle = f"CIRCLE {circle}"
        query = urlencode(
            {**self.constants, "ID": identifier, self.shape: circle}, quote_via=quote, safe=""
        )
        return f"{self.url.rstrip('?&')}{'&' if '?' in self.url else '?'}{query}"


@dataclass(frozen=True)
class Link:
    """What a DataLink tells of one dataset.

    Attributes
    ----------
    cutter : Cutter or None
        Its SODA service.
    identifier : str
        What that service knows the dataset by.
    file_url : str
        Where the whole file is; empty when not told.
    kilobytes : float
        Its size; NaN when not told.
    """

    cutter: Cutter | None
    identifier: str = ""
    file_url: str = ""
    kilobytes: float = float("nan")


def read_link(links: Any) -> Link:
    """Find the SODA service of a DataLink answer, and the file itself.

    Parameters
    ----------
    links : pyvo.dal.adhoc.DatalinkResults
        For one dataset.

    Returns
    -------
    Link
        Of the row with semantics ``#cutout`` when there are several services.

    Raises
    ------
    ArchiveError
        When the answer tells of a fault instead.
    """
    services = {service.ID: service for service in links.iter_adhocservices() if _is_soda(service)}
    names = {column.ID: column.name for column in links.resultstable.fields}
    rows = list(rows_of(links))
    rows.sort(key=lambda row: text(row.get("semantics")) != "#cutout")
    file_url, kilobytes = "", float("nan")
    for row in rows:
        if text(row.get("semantics")) == "#this" and text(row.get("access_url")):
            file_url = text(row["access_url"])
            kilobytes = number(row.get("content_length")) / 1000
    faults = [text(row.get("error_message")) for row in rows]
    named = [(services.get(text(row.get("service_def"))), row) for row in rows]
    # Some archives describe the service and forget the row that refers to it.
    unnamed = [(service, row) for service in services.values() for row in rows if not any(faults)]
    for service, row in named + unnamed:
        if service is not None:
            inputs = _inputs(service)
            identifier = _identifier(inputs.get("ID"), row, names)
            return Link(_cutter(service, inputs), identifier, file_url, kilobytes)
    if not file_url and any(faults):
        raise ArchiveError(shorten(next(filter(None, faults))), 200)
    return Link(None, file_url=file_url, kilobytes=kilobytes)


def _identifier(parameter: Any, row: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What a service knows the dataset by: fixed, of a column of the row, or the row's own id."""
    fixed = text(getattr(parameter, "value", None))
    column = names.get(getattr(parameter, "ref", None) or "", "ID")
    return fixed or text(row.get(column.lower()))


def _cutter(service: Any, inputs: Mapping[str, Any]) -> Cutter:
    url = text({param.name: param for param in service.params}["accessURL"].value)
    shape = "POS" if "POS" in inputs and "CIRCLE" not in inputs else "CIRCLE"
    values = {name: text(param.value) for name, param in inputs.items() if name not in _AXES}
    return Cutter(url, shape, {name: value for name, value in values.items() if value})


def _is_soda(service: Any) -> bool:
    return any(
        param.name == "standardID" and text(param.value).lower().startswith(_SODA)
        for param in service.params
    )


def _inputs(service: Any) -> dict[str, Any]:
    """Input parameters of a service descriptor, by upper-case name."""
    return {
        entry.name.upper(): entry
        for group in service.groups
        if group.name == "inputParams"
        for entry in group.entries
        if getattr(entry, "name", None) and hasattr(entry, "value")
    }
