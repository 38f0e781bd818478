"""Which images an IVOA archive has and how to cut them: SIA2, SIA1, TAP, DataLink, by pyvo."""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from galaxymill.surveys.base import Target
from galaxymill.surveys.ivoa.datalink import Cutter, Link, is_datalink, linker, read_link
from galaxymill.surveys.ivoa.obscore import Dataset, adql
from galaxymill.surveys.ivoa.votable import (
    ArchiveError,
    FileInsteadError,
    asking,
    number,
    overflows,
    require_columns,
    require_images,
    rows_of,
    session,
    sia2,
    text,
)
from galaxymill.web.http import Http

if TYPE_CHECKING:
    from galaxymill.surveys.services.sia import SiaSettings

UPLOAD_ROWS = 1000
"""Galaxies in one TAP query."""
_MAX_RECORDS = 100_000
_POINT_RADIUS_DEG = 1 / 3600
_LINK_FRESH_S = 600.0
_TOO_MANY = "more images than the archive lists"
_NARROW = "give collection, calib_level or where"
REFUSED = {400, 404, 422}
"""What a service answers for a dataset that it does not know."""
_NAMES = ("did", "linked_id")
"""Attributes of a dataset that a SODA service may know it by."""
_UCDS = {
    "access_url": "VOX:Image_AccessReference",
    "access_format": "VOX:Image_Format",
    "s_ra": "POS_EQ_RA_MAIN",
    "s_dec": "POS_EQ_DEC_MAIN",
    "obs_publisher_did": "VOX:Image_Title",
}
"""What SIA1 knows columns by, whatever they are called (SIA 1.0, section 4.2.2)."""
_SCIENCE = {"prodtype": ("", "image"), "proctype": ("", "stack")}
"""NOIRLab lists weights, masks and single exposures too; others have no such columns."""


@dataclass(frozen=True)
class _Pattern:
    """Attributes by which a SODA service knows datasets; ``proven`` when two DataLinks agree."""

    cutter: Cutter
    names: tuple[str, ...]
    seen_at: str
    proven: bool = False


class Archive:
    """The archive's catalogue and links, as far as the settings of service ``sia`` want them."""

    def __init__(self, http: Http, settings: "SiaSettings") -> None:
        self._settings = settings
        self._session = session(http)
        self._links_session = session(http, group="DataLink")
        self._lock = threading.RLock()
        self._links: dict[str, tuple[float, Link]] = {}
        self._patterns: dict[tuple[str, ...], _Pattern] = {}
        self._files: set[tuple[str, ...]] = set()
        self._found = False
        self._first = threading.Lock()

    def search(self, target: Target, field_deg: float) -> list[Dataset]:
        """Ask SIA2 for the images that hold a galaxy, SIA1 for a field; raises ArchiveError."""
        if self._settings.protocol == "sia1":
            return self._search_sia1(target, field_deg)
        circle = (target.ra, target.dec, _POINT_RADIUS_DEG)
        with asking("SIA2"):
            results = self._sia2(pos=circle, maxrec=_MAX_RECORDS).execute()
            rows = list(rows_of(results))
            band = self._settings.band_column
            columns = ["access_url", "access_format", *([band] if band else ["em_min", "em_max"])]
            require_columns(rows, columns, "band_column, or `tap`,")
            links_of = linker(results, self._settings.server)
            found = [self._dataset(row, links_of(row)) for row in rows]
            overflow = overflows(results)
        if overflow:
            raise ArchiveError(f"SIA2: {_TOO_MANY}: {_NARROW}", 200)
        self._require_images(found)
        return found

    def _search_sia1(self, target: Target, field_deg: float) -> list[Dataset]:
        """List the images that a field lies on, cut to it where the archive does that."""
        from pyvo.dal.sia import SIAResults

        server = self._settings.server
        # Written by hand: NOIRLab takes a comma that is encoded for no comma.
        mark = "&" if "?" in server else "?"
        place = f"POS={target.ra:.7f},{target.dec:.7f}&SIZE={field_deg:.7f},{field_deg:.7f}"
        url = f"{server.rstrip('?&')}{mark}{place}&FORMAT=image/fits"
        with asking("SIA1"):
            results = SIAResults.from_result_url(url, session=self._session)
            own = {name: results.fieldname_with_ucd(ucd) for name, ucd in _UCDS.items()}
            columns = {name: (column or name).lower() for name, column in own.items()}
            rows = list(rows_of(results))
            overflow = overflows(results)
        if overflow:
            raise ArchiveError(_TOO_MANY, 200)
        band = self._settings.band_column.lower()
        require_columns(rows, sorted({band, columns["access_url"]}), "band_column")
        datasets = []
        for row in filter(_is_science, rows):
            plain = {name: text(row.get(column)) for name, column in columns.items()}
            # The first word of the column names the band.
            plain[band] = text(row[band]).split(" ")[0]
            plain["access_format"] = plain["access_format"] or "image/fits"
            datasets.append(self._dataset(plain, ""))
        return datasets

    def join(self, targets: Sequence[Target]) -> dict[str, list[Dataset] | ArchiveError]:
        """Ask TAP for the images that hold each of many galaxies, by ``object_id``.

        What the archive cuts short is asked for again in halves; an error stands for a galaxy that
        has more images than are listed.
        """
        from astropy.table import Table

        # Numbers stand for the galaxies: ids of any letters and length survive.
        rows = [(index, target.ra, target.dec) for index, target in enumerate(targets)]
        galaxies = Table(rows=rows, names=["object_id", "ra", "dec"], dtype=["i4", "f8", "f8"])
        with asking("TAP"):
            results = self._tap_query(uploads={"galaxies": galaxies}).execute()
            overflow = overflows(results)
            found: defaultdict[str, list[Dataset]] = defaultdict(list)
            links_of = linker(results, self._settings.tap)
            for row in rows_of(results):
                galaxy = targets[int(row["object_id"])]
                found[galaxy.object_id].append(self._dataset(row, links_of(row)))
        if overflow:
            if len(targets) == 1:
                error = ArchiveError(f"TAP: {_TOO_MANY}: {_NARROW}", 200)
                return {targets[0].object_id: error}
            half = len(targets) // 2
            return self.join(targets[:half]) | self.join(targets[half:])
        self._require_images(found)
        return dict(found)

    def _require_images(self, found: Sized) -> None:
        """Refuse a collection that is nowhere: while no answer held an image, ask for any."""
        with self._first:
            collection = self._settings.collection
            if not found and not self._found and (self._settings.tap or collection):
                query = self._tap_query() if self._settings.tap else self._sia2(maxrec=1)
                require_images(query, collection)
            self._found = True

    def _sia2(self, **options: Any) -> Any:
        options |= {"data_type": "image", "calib_level": self._settings.calib_level}
        return sia2(self._settings.server, self._session, self._settings.collection, **options)

    def _tap_query(self, uploads: Mapping[str, Any] | None = None) -> Any:
        """Make a query for the images of uploaded galaxies or, without these, for any image."""
        from pyvo.dal.tap import TAPQuery

        query = adql(self._settings, anywhere=uploads is None)
        most = 1 if uploads is None else _MAX_RECORDS
        options = {"maxrec": most, "session": self._session, "uploads": uploads}
        return TAPQuery(self._settings.tap.rstrip("/"), query, **options)

    def link(self, dataset: Dataset) -> Link:
        """Find out how one dataset is cut.

        When the DataLinks of two datasets name one SODA service and identifiers that follow from
        their rows, the links of all others of their collection are assumed to do so; else there
        is one DataLink a dataset, kept for ten minutes. Raises ArchiveError when it cannot be had.
        """
        with self._lock:
            if _kind(dataset) in self._files:
                return Link(None, "", dataset.links_url, dataset.kilobytes)
            pattern = self._patterns.get(_kind(dataset))
            if pattern is not None and pattern.proven and self._fresh(dataset) is None:
                return Link(pattern.cutter, getattr(dataset, pattern.names[0]), assumed=True)
            return self.own_link(dataset)

    def own_link(self, dataset: Dataset) -> Link:
        """Read a dataset's own DataLink, whatever those of others say; see `link`."""
        with self._lock:
            link = self._fresh(dataset)
            if link is None:
                link = self._ask_link(dataset)
                self._links[dataset.links_url] = time.monotonic(), link
                self._learn(dataset, link)
            return link

    def _fresh(self, dataset: Dataset) -> Link | None:
        made, link = self._links.get(dataset.links_url, (0.0, None))
        return None if time.monotonic() - made > _LINK_FRESH_S else link

    def _learn(self, dataset: Dataset, link: Link) -> None:
        """Compare a link with an earlier one of its kind; of two that differ, keep the later."""
        kind = _kind(dataset)
        earlier = self._patterns.get(kind)
        if link.cutter is None or (earlier and earlier.proven):
            return
        names = tuple(name for name in _NAMES if link.identifier == getattr(dataset, name))
        if earlier and earlier.cutter == link.cutter and earlier.seen_at != dataset.links_url:
            shared = tuple(name for name in names if name in earlier.names)
            if shared:
                self._patterns[kind] = replace(earlier, names=shared, proven=True)
                return
        if names:
            self._patterns[kind] = _Pattern(link.cutter, names, dataset.links_url)

    def _ask_link(self, dataset: Dataset) -> Link:
        from pyvo.dal.adhoc import DatalinkResults

        url = dataset.links_url
        try:
            with asking("DataLink"):
                links = DatalinkResults.from_result_url(url, session=self._links_session)
                link = read_link(links, url)
        except FileInsteadError:
            self._files.add(_kind(dataset))
            return Link(None, "", url, dataset.kilobytes)
        except ArchiveError as error:
            # What the list describes may not know what the address in its row does.
            own = dataset.access_url if is_datalink(dataset.access_format) else ""
            if own in ("", url) or error.http_status not in {200, *REFUSED}:
                raise
            return self._ask_link(replace(dataset, links_url=own))
        return replace(link, file_url=link.file_url or dataset.file_url)

    def _dataset(self, row: Mapping[str, Any], links_url: str) -> Dataset:
        url, kind = text(row.get("access_url")), text(row.get("access_format"))
        return Dataset(
            did=text(row.get("obs_publisher_did")),
            access_url=url,
            access_format=kind,
            links_url=links_url or (url if is_datalink(kind) else ""),
            ra=number(row.get("s_ra")),
            dec=number(row.get("s_dec")),
            em_min=number(row.get("em_min")),
            em_max=number(row.get("em_max")),
            band=text(row.get(self._settings.band_column.lower())),
            kilobytes=number(row.get("access_estsize")),
            collection=text(row.get("obs_collection")),
        )


def _kind(dataset: Dataset) -> tuple[str, ...]:
    """Datasets whose links may be alike: those of one collection, linked to from one place."""
    place = urlsplit(dataset.links_url)
    return dataset.collection, place.netloc, place.path.rpartition("/")[0]


def _is_science(row: Mapping[str, Any]) -> bool:
    return all(text(row.get(name)).lower() in allowed for name, allowed in _SCIENCE.items())
