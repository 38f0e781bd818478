"""How a dataset is cut: what its DataLink tells of the archive's SODA service."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from galaxymill.surveys.base import Target
from galaxymill.surveys.ivoa.votable import ArchiveError, number, rows_of, shorten, text

_SODA = "ivo://ivoa.net/std/soda#sync-1"
_LINKS = "ivo://ivoa.net/std/datalink#links-1"
_VOCABULARY = re.compile(r"^https?://www\.ivoa\.net/rdf/datalink/core(?=#)")
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
        """Spell the request for a circle around a galaxy."""
        region = self.region(identifier, target, radius_deg)
        return _with_query(self.url, {**self.constants, **region})

    def region(self, identifier: str, target: Target, radius_deg: float) -> dict[str, str]:
        """Say what is cut, without where: the parameters of SODA 1.0, section 3.3."""
        circle = f"{target.ra:.7f} {target.dec:.7f} {radius_deg:.7f}"
        if self.shape == "POS":
            circle = f"CIRCLE {circle}"
        return {"ID": identifier, self.shape: circle}


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
    assumed : bool
        Whether it was not asked for, but follows from the links of other datasets.
    """

    cutter: Cutter | None
    identifier: str = ""
    file_url: str = ""
    kilobytes: float = float("nan")
    assumed: bool = False

    @property
    def soda(self) -> tuple[Cutter | None, str]:
        """How SODA is asked for this dataset."""
        return self.cutter, self.identifier


@dataclass(frozen=True)
class LinksService:
    """A DataLink service: asked by the value that a row has in one column."""

    url: str
    column: str

    def address(self, row: Mapping[str, Any]) -> str:
        """Where the DataLink of a row is; empty when the row does not say."""
        value = text(row.get(self.column))
        return _with_query(self.url, {"ID": value}) if value else ""


def is_datalink(access_format: str) -> bool:
    """Tell whether an address of this format is a DataLink."""
    return "content=datalink" in access_format.lower().replace(" ", "").replace('"', "")


def find_links(results: Any, url: str) -> LinksService | None:
    """Find the DataLink service that a list of images describes (DataLink 1.1, section 4).

    Parameters
    ----------
    results : pyvo.dal.DALResults
        The list.
    url : str
        Where it came from.

    Returns
    -------
    LinksService or None
        None when it describes none.
    """
    for service in _services(results.votable):
        parameter = _inputs(service).get("ID")
        column = _columns(results).get(getattr(parameter, "ref", None) or "")
        if column and _follows(service, _LINKS):
            return LinksService(urljoin(url, _access_url(service)), column)
    return None


def read_link(links: Any, url: str) -> Link:
    """Find the SODA service of a DataLink answer, and the file itself.

    Parameters
    ----------
    links : pyvo.dal.adhoc.DatalinkResults
        For one dataset.
    url : str
        Where it came from.

    Returns
    -------
    Link
        Of the row with semantics ``#cutout`` when there are several services.

    Raises
    ------
    ArchiveError
        When the answer tells of a fault instead.
    """
    services = {
        service.ID: service for service in _services(links.votable) if _follows(service, _SODA)
    }
    columns = _columns(links)
    rows = list(rows_of(links))
    rows.sort(key=lambda row: _semantics(row) != "#cutout")
    file_url, kilobytes = "", float("nan")
    for row in rows:
        if _semantics(row) == "#this" and text(row.get("access_url")):
            file_url = urljoin(url, text(row["access_url"]))
            kilobytes = number(row.get("content_length")) / 1000
    faults = [text(row.get("error_message")) for row in rows]
    named = [(services.get(text(row.get("service_def"))), row) for row in rows]
    # Some archives describe the service and forget the row that refers to it.
    unnamed = [(service, row) for service in services.values() for row in rows if not any(faults)]
    for service, row in named + unnamed:
        if service is not None:
            inputs = _inputs(service)
            identifier = _identifier(inputs.get("ID"), row, columns)
            return Link(_cutter(service, inputs, url), identifier, file_url, kilobytes)
    if not file_url and any(faults):
        raise ArchiveError(shorten(next(filter(None, faults))), 200)
    return Link(None, file_url=file_url, kilobytes=kilobytes)


def _identifier(parameter: Any, row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """What a service knows the dataset by: fixed, of a column of the row, or the row's own id."""
    fixed = text(getattr(parameter, "value", None))
    column = columns.get(getattr(parameter, "ref", None) or "", "id")
    return fixed or text(row.get(column))


def _cutter(service: Any, inputs: Mapping[str, Any], document: str) -> Cutter:
    url = urljoin(document, _access_url(service))
    shape = "POS" if "POS" in inputs and "CIRCLE" not in inputs else "CIRCLE"
    values = {name: text(param.value) for name, param in inputs.items() if name not in _AXES}
    return Cutter(url, shape, {name: value for name, value in values.items() if value})


def _semantics(row: Mapping[str, Any]) -> str:
    """What a link is: a term of the core vocabulary, which may stand there in full."""
    return _VOCABULARY.sub("", text(row.get("semantics")))


def _columns(results: Any) -> dict[str, str]:
    """Names of columns in lower case, by the XML ID that parameters refer to."""
    return {column.ID: column.name.lower() for column in results.resultstable.fields}


def _services(votable: Any) -> Iterator[Any]:
    """Give the service descriptors: they stand beside the results, or within."""
    for resource in votable.resources:
        for one in (resource, *resource.resources):
            if one.type == "meta" and one.utype == "adhoc:service":
                yield one


def _follows(service: Any, standard: str) -> bool:
    return any(
        param.name == "standardID" and text(param.value).lower().startswith(standard)
        for param in service.params
    )


def _access_url(service: Any) -> str:
    return text({param.name: param for param in service.params}["accessURL"].value)


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    query = urlencode(parameters, quote_via=quote, safe="")
    return f"{url.rstrip('?&')}{'&' if '?' in url else '?'}{query}"


def _inputs(service: Any) -> dict[str, Any]:
    """Input parameters of a service descriptor, by upper-case name."""
    return {
        entry.name.upper(): entry
        for group in service.groups
        if group.name == "inputParams"
        for entry in group.entries
        if getattr(entry, "name", None) and hasattr(entry, "value")
    }
