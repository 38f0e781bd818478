"""Ask an IVOA archive which images it has and how to cut them: SIA2, TAP and DataLink by pyvo."""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from galaxymill.surveys.base import Target
from galaxymill.surveys.http import Http
from galaxymill.surveys.ivoa.datalink import Cutter, Link, read_link
from galaxymill.surveys.ivoa.obscore import Dataset, Selection
from galaxymill.surveys.ivoa.votable import (
    ArchiveError,
    asking,
    number,
    overflows,
    rows_of,
    session,
    text,
)

UPLOAD_ROWS = 1000
"""Galaxies in one TAP query."""
_MAX_RECORDS = 100_000
_POINT_RADIUS_DEG = 1 / 3600
_LINK_FRESH_S = 600.0


class Archive:
    """The archive's catalogue and links.

    Parameters
    ----------
    http : Http
        Makes all requests.
    selection : Selection
        Which images are looked for.
    server : str
        SIA2 query endpoint.
    tap : str
        TAP service; empty when there is none.
    """

    def __init__(self, http: Http, selection: Selection, server: str, tap: str) -> None:
        self._http, self._selection = http, selection
        self._server, self._tap = server, tap
        self._session = session(http)
        self._lock = threading.Lock()
        self._links: dict[str, tuple[float, Link]] = {}
        self._common: tuple[Cutter, str] | None = None

    def search(self, target: Target) -> list[Dataset]:
        """Ask SIA2 for the images that hold a galaxy; raises ArchiveError."""
        from pyvo.dal.sia2 import SIA2Query

        circle = (target.ra, target.dec, _POINT_RADIUS_DEG)
        query = SIA2Query(
            self._server,
            pos=circle,
            data_type="image",
            collection=self._selection.collection or None,
            maxrec=_MAX_RECORDS,
            session=self._session,
        )
        if self._selection.calib_level is not None:
            query.calib_level.add(self._selection.calib_level)
        with asking("SIA2"):
            results = query.execute()
            found = [self._dataset(row) for row in rows_of(results)]
            overflow = overflows(results)
        if overflow:
            raise ArchiveError("more images than the archive lists: choose a collection", 200)
        return found

    def join(self, targets: Sequence[Target]) -> dict[str, list[Dataset]]:
        """Ask TAP for the images that hold each of many galaxies.

        An answer that the archive cuts short is asked for again in halves.

        Returns
        -------
        dict of str to list of Dataset
            By ``object_id``.

        Raises
        ------
        ArchiveError
            When the query fails, or one galaxy alone has more images than are listed.
        """
        from astropy.table import Table
        from pyvo.dal.tap import TAPQuery

        # Numbers stand for the galaxies: ids of any letters and length survive.
        galaxies = Table(
            {
                "object_id": range(len(targets)),
                "ra": [target.ra for target in targets],
                "dec": [target.dec for target in targets],
            },
            dtype=["i4", "f8", "f8"],
        )
        with asking("TAP"):
            results = TAPQuery(
                self._tap.rstrip("/"),
                self._selection.adql(),
                maxrec=_MAX_RECORDS,
                uploads={"galaxies": galaxies},
                session=self._session,
            ).execute()
            overflow = overflows(results)
            found: dict[str, list[Dataset]] = defaultdict(list)
            for row in rows_of(results):
                found[targets[int(row["object_id"])].object_id].append(self._dataset(row))
        if overflow:
            if len(targets) == 1:
                raise ArchiveError("a galaxy has more images than are listed: narrow `where`", 200)
            half = len(targets) // 2
            return self.join(targets[:half]) | self.join(targets[half:])
        return found

    def link(self, dataset: Dataset) -> Link:
        """Tell how one dataset is cut.

        The first DataLink serves for all datasets whose identifiers follow from their rows;
        else there is one DataLink a dataset, believed for ten minutes.

        Raises
        ------
        ArchiveError
            When the DataLink cannot be had, or tells of an error.
        """
        with self._lock:
            if self._common is not None:
                cutter, name = self._common
                return Link(cutter, getattr(dataset, name))
            made, link = self._links.get(dataset.access_url, (0.0, None))
            if link is None or time.monotonic() - made > _LINK_FRESH_S:
                link = self._ask_link(dataset)
                self._links[dataset.access_url] = time.monotonic(), link
                if link.cutter is not None:
                    for name in ("did", "linked_id"):
                        if link.identifier == getattr(dataset, name):
                            self._common = link.cutter, name
                            break
            return link

    def _ask_link(self, dataset: Dataset) -> Link:
        from pyvo.dal.adhoc import DatalinkResults

        with asking("DataLink"):
            links = DatalinkResults.from_result_url(dataset.access_url, session=self._session)
            return read_link(links)

    def _dataset(self, row: Mapping[str, Any]) -> Dataset:
        return Dataset(
            did=text(row.get("obs_publisher_did")),
            access_url=text(row.get("access_url")),
            access_format=text(row.get("access_format")),
            ra=number(row.get("s_ra")),
            dec=number(row.get("s_dec")),
            em_min=number(row.get("em_min")),
            em_max=number(row.get("em_max")),
            band=text(row.get(self._selection.band_column.lower())),
            kilobytes=number(row.get("access_estsize")),
        )
