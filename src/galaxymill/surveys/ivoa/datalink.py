"""How a dataset is cut: the archive's SODA service, as its DataLink describes it."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from galaxymill.surveys.base import Target
from galaxymill.surveys.ivoa.votable import ArchiveError, number, rows_of, shorten, text

_SODA = "ivo://ivoa.net/std/soda#sync"
_LINKS = "ivo://ivoa.net/std/datalink"
_VOCABULARY = re.compile(r"^https?://www\.ivoa\.net/rdf/datalink/core(?=#)")
_SHAPES = ("CIRCLE", "POS", "POLYGON", "RANGE")
_RANKS = {"#cutout": 0, "#proc": 1}


@dataclass(frozen=True)
class Cutter:
    """A SODA service: whether it takes CIRCLE or POS, and the parameters that it fixes."""

    url: str
    shape: str = "CIRCLE"
    constants: Mapping[str, str] = field(default_factory=dict)

    def region(self, identifier: str, target: Target, radius_deg: float) -> dict[str, str]:
        """Parameters of a cutout, by SODA 1.0, section 3.3."""
        circle = f"{target.ra:.7f} {target.dec:.7f} {radius_deg:.7f}"
        if self.shape == "POS":
            circle = f"CIRCLE {circle}"
        return {"ID": identifier, self.shape: circle}


@dataclass(frozen=True)
class Link:
    """How one dataset is cut: by a SODA service, or out of its whole file.

    The service knows it by ``identifier``; ``why_whole`` is the reason why there is none.
    ``file_url`` and ``kilobytes`` are of the whole file, empty and NaN when unknown. ``assumed``:
    it was not asked for, but follows from the links of other datasets.
    """

    cutter: Cutter | None
    identifier: str = ""
    file_url: str = ""
    kilobytes: float = float("nan")
    assumed: bool = False
    why_whole: str = "tells of no SODA service"


def is_datalink(access_format: str) -> bool:
    """Whether an address of this format is a DataLink."""
    return "content=datalink" in access_format.lower().replace(" ", "").replace('"', "")


def linker(results: Any, url: str) -> Callable[[Mapping[str, Any]], str]:
    """Make a function from a row to the address of its DataLink, empty when that is not known.

    ``results``, a list of images from ``url``, may describe a links service (DataLink 1.1,
    section 4).
    """
    columns = _columns(results)
    links = _services(results.votable, _LINKS)
    services = [one for one in links if getattr(_inputs(one).get("ID"), "ref", None)]

    def address(row: Mapping[str, Any]) -> str:
        for service in services:
            address, fixed = _fixed(service, row, columns, url)
            if fixed.get("ID"):
                return with_query(address, fixed)
        return ""

    return address


def read_link(links: Any, url: str) -> Link:
    """Read the DataLink of one dataset, which came from ``url``; ArchiveError for a fault.

    Of several services it is the first that takes a circle, those of ``#cutout`` before others.
    """
    services = _services(links.votable, _SODA)
    by_id = {service.ID: service for service in services}
    columns = _columns(links)
    rows = sorted(rows_of(links), key=lambda row: _RANKS.get(_semantics(row), 2))
    faults = [text(row.get("error_message")) for row in rows]
    link = Link(None)
    for row in rows:
        if _semantics(row) == "#this" and text(row.get("access_url")):
            file_url = urljoin(url, text(row["access_url"]))
            link = Link(None, "", file_url, number(row.get("content_length")) / 1000)
    named = [(by_id.get(text(row.get("service_def"))), row) for row in rows]
    # Some archives describe the service and forget the row that refers to it.
    unnamed = [(service, row) for service in services for row in rows if not any(faults)]
    for service, row in named + unnamed:
        if service is not None:
            address, fixed = _fixed(service, row, columns, url)
            identifier = fixed.pop("ID", "") or text(row.get("id"))
            takes = _takes(service, fixed)
            if takes in _SHAPES[:2]:
                return replace(link, cutter=Cutter(address, takes, fixed), identifier=identifier)
            what = f"{shorten(takes)} and neither CIRCLE nor POS"
            link = replace(link, why_whole=f"tells of a SODA service that takes {what}")
    if not link.file_url and any(faults):
        raise ArchiveError(shorten(next(filter(None, faults))), 200)
    return link


def _takes(service: Any, fixed: Mapping[str, str]) -> str:
    """``CIRCLE`` or ``POS``, whichever a SODA service takes; else all that it takes."""
    names = [name for name in _inputs(service) if name not in fixed and name != "ID"]
    # A service without a list of parameters is taken to follow the standard.
    return next((shape for shape in _SHAPES[:2] if shape in names or not names), ", ".join(names))


def _fixed(
    service: Any, row: Mapping[str, Any], columns: Mapping[str, str], document: str
) -> tuple[str, dict[str, str]]:
    """Address of a service, and what its descriptor fixes: by a value, or by a column of a row."""
    from pyvo.dal.adhoc import DatalinkQuery

    by_reference = defaultdict(str, {key: text(row.get(name)) for key, name in columns.items()})
    # Nothing is asked through it: any session will do, and a true one takes long to make.
    query = DatalinkQuery.from_resource(by_reference, service, session=object())
    values = {name: text(value) for name, value in query.items() if name not in _SHAPES}
    fixed = {name: value for name, value in values.items() if set(value.lower().split()) - {"nan"}}
    return urljoin(document, query.baseurl), fixed


def _semantics(row: Mapping[str, Any]) -> str:
    """Kind of a link: a term of the core vocabulary, which may stand there in full."""
    return _VOCABULARY.sub("", text(row.get("semantics")))


def _columns(results: Any) -> dict[str, str]:
    """Names of columns in lower case, by the XML ID that parameters refer to."""
    return {column.ID: column.name.lower() for column in results.resultstable.fields}


def _services(votable: Any, standard: str) -> list[Any]:
    """Find the descriptors of services of a standard: beside the results, or within."""
    return [
        one
        for resource in votable.resources
        for one in (resource, *resource.resources)
        if one.type == "meta" and one.utype == "adhoc:service"
        for param in one.params
        if param.name == "standardID" and text(param.value).lower().startswith(standard)
    ]


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """Add parameters to an address, except those that it has already."""
    there = {name.upper() for name, _ in parse_qsl(urlsplit(url).query)}
    new = {name: value for name, value in parameters.items() if name.upper() not in there}
    query = urlencode(new, quote_via=quote, safe="")
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
