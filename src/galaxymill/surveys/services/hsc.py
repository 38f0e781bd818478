"""Service ``hsc``: coadd cutouts of HSC-SSP, many galaxies to a request.

A list of galaxies and bands is uploaded, and a tar archive comes back while it is made. Where a
galaxy lies on several tracts, whose pixels do not agree, all bands are taken from one: that with
the most bands, then the fewest empty pixels, then the lowest number. Requests follow one another.

It cannot tell which galaxies lie off the survey without asking for them. An archive without its
end mark counts as broken off: what is missing in it is asked for again. Masks and variances are
not asked for.
"""

import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import ClassVar
from urllib.parse import urlencode
from zlib import crc32

import numpy as np
from pydantic import Field

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import first_image, list_hdus
from galaxymill.surveys.base import Cutout, PixelScale, Target, cutout_of
from galaxymill.surveys.mosaics.mosaic import Mosaic, Plane, zero_point_factor
from galaxymill.surveys.mosaics.native import NativeSettings, assemble, cut_native, native_scale
from galaxymill.surveys.per_galaxy import HttpService
from galaxymill.surveys.tar_stream import ArchiveError, Member, read_members
from galaxymill.web.answer import Answer, TryAgain
from galaxymill.web.credentials import Credentials
from galaxymill.web.http import pieces
from galaxymill.web.network import Network, ServiceError, Url

_FILTERS = {"g": "HSC-G", "r": "HSC-R", "i": "HSC-I", "z": "HSC-Z", "y": "HSC-Y"}
_NAME = re.compile(
    r"arch-[\w-]+/(?P<line>\d{1,4})-cutout-(?P<filter>[\w-]+)-(?P<tract>\d{1,6})-(?P<rerun>[\w.]+)"
    r"\.fits",
    re.ASCII,
)
_ZERO_POINT = 27.0
"""AB magnitude of one count in HSC-SSP coadds (Aihara+22, PASJ 74, 247), as FLUXMAG0 says."""
_FIRST_LINE = 2
_MAX_TRACTS = 8
_MEMBERS_A_ROW = 16
_HEADERS_BYTES = 2_000_000
_HELD = 16
_HELD_BYTES = 100_000_000


class HscSettings(NativeSettings):
    """Settings of the service ``hsc``."""

    operational: ClassVar[frozenset[str]] = NativeSettings.operational | {"rows_per_request"}
    native_pixel_scale: ClassVar[float] = 0.168
    known_bands: ClassVar[frozenset[str]] = frozenset(_FILTERS)

    pixel_scale: PixelScale = native_scale(0.168)
    release: str = Field("pdr3", pattern=r"^\w+$", description="public data release")
    rerun: str = Field(
        "pdr3_wide",
        pattern=r"^[\w.]+$",
        description="layer of the release: pdr3_wide, pdr3_dud or pdr3_dud_rev",
    )
    rows_per_request: int = Field(
        990, ge=len(_FILTERS), le=990, description="galaxies times bands in one request"
    )
    server: Url = Field(
        "https://hsc-release.mtk.nao.ac.jp",
        description="the HSC-SSP archive; user and password come from HSC_SSP_USER and "
        "HSC_SSP_PASSWORD, or from ~/.netrc",
    )

    @property
    def galaxies_per_request(self) -> int:
        """Most galaxies of one request."""
        return self.rows_per_request // len(self.bands)

    def requests(self, galaxies: int) -> int:
        """One for each group of galaxies."""
        return math.ceil(galaxies / self.galaxies_per_request)


@dataclass
class _Galaxy:
    """Planes of one galaxy by tract and band, faults by band, and a checksum of unfit bytes."""

    tracts: dict[int, dict[str, Plane]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    unfit: int = 0

    def is_complete(self, bands: Iterable[str]) -> bool:
        """Whether there is something in every band."""
        return set(bands) <= {*self.faults, *(band for one in self.tracts.values() for band in one)}

    def best(self) -> dict[str, Plane]:
        """Planes of the best tract."""

        def rank(tract: int) -> tuple[int, int, int]:
            planes = self.tracts[tract].values()
            empty = sum(int(np.count_nonzero(~np.isfinite(plane.data))) for plane in planes)
            return -len(planes), empty, tract

        return self.tracts[min(self.tracts, key=rank)] if self.tracts else {}


class HscService(HttpService):
    """Ask ``/das_cutout`` for many galaxies at once."""

    _settings: HscSettings

    def __init__(self, settings: HscSettings, network: Network) -> None:
        self._credentials = Credentials("HSC_SSP_USER", "HSC_SSP_PASSWORD", settings.server)
        super().__init__(settings, network, headers=self._credentials.headers())
        self._path = f"/das_cutout/{settings.release}/cgi-bin/cutout"
        self._unfit: dict[str, int] = {}

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, in the order of the answers."""
        source = iter(targets)
        while some := list(islice(source, self._settings.galaxies_per_request)):
            fitting = []
            for target in some:
                if reason := self._settings.too_large(target):
                    yield Cutout(target, "invalid", reason=reason)
                else:
                    fitting.append(target)
            yield from self._bulk(fitting)

    def _bulk(self, targets: list[Target]) -> Iterator[Cutout]:
        """Answer the galaxies of one request; those that did not come are asked for again."""
        waiting = {target.object_id: target for target in targets}
        while waiting:
            before = len(waiting)
            try:
                for attempt in self._http.retries():
                    with attempt:
                        unfit: dict[str, str] = {}
                        for cutout in self._once(list(waiting.values())):
                            if cutout.http_status == 200 and cutout.status == "failed":
                                unfit[cutout.target.object_id] = cutout.reason
                                continue
                            del waiting[cutout.target.object_id]
                            yield cutout
                        if unfit:
                            now = datetime.now(UTC)
                            raise TryAgain(Answer(b"", 200, "unfit", self._path, now))
            except TryAgain as last:
                # As long as something comes, it is worth going on.
                if len(waiting) == before:
                    for key, target in waiting.items():
                        reason = unfit.get(key, last.answer.reason)
                        yield cutout_of(last.answer, target, "failed", reason)
                    return

    def _once(self, targets: list[Target]) -> Iterator[Cutout]:
        """Make one request, and answer as many of its galaxies as come whole."""
        import httpx

        came = False
        upload = {"list": ("list.txt", self._list(targets).encode())}
        try:
            with self._http.stream("POST", self._path, files=upload) as response:
                answer = self._http.head(response, self._path)
                if answer.http_status != 200:
                    yield from self._refused(answer, targets)
                    return
                for cutout in self._unpack(pieces(response), targets):
                    came = True
                    yield cutout
        except (httpx.HTTPError, httpx.InvalidURL, ArchiveError) as error:
            reason = str(error) if isinstance(error, ArchiveError) else type(error).__name__
            broken = Answer(b"", None, reason, self._path, datetime.now(UTC))
            # A service that gave some galaxies is not down.
            self._http.note(replace(broken, http_status=200) if came else broken)
            raise TryAgain(broken) from None
        self._http.note(answer)

    def _refused(self, answer: Answer, targets: list[Target]) -> Iterator[Cutout]:
        if answer.http_status == 401:
            how_to = self._credentials.how_to
            raise ServiceError(f"HTTP 401: the server refuses user and password; {how_to}")
        self._http.note(answer)
        if answer.transient:
            raise TryAgain(answer)
        for target in targets:
            yield cutout_of(answer.judged(lambda _: None, set()), target)

    def _list(self, targets: list[Target]) -> str:
        """Write the list that is uploaded: for each galaxy a line a band."""
        lines = ["#? filter ra dec sw sh rerun"]
        for target in targets:
            row = " ".join(self._row(target).values())
            lines += [f"{_FILTERS[band]} {row}" for band in self._settings.bands]
        return "\n".join(lines) + "\n"

    def _row(self, target: Target) -> dict[str, str]:
        size = self._settings.native(target).size
        # Some more than the square: a tract's pixels are not quite along the meridian.
        half = f"{(size / 2 + 4 + size // 40) * self._settings.native_pixel_scale:.3f}asec"
        return {**target.radec(), "sw": half, "sh": half, "rerun": self._settings.rerun}

    def _unpack(self, archive: Iterable[bytes], targets: list[Target]) -> Iterator[Cutout]:
        """Answer the galaxies of one archive, whose members come in the order of the list."""
        bands = self._settings.bands
        largest, cutout_bytes = self._settings.largest(targets)
        # With a margin of pixels, and room for mask and variance, sent or not.
        max_bytes = _HEADERS_BYTES + 12 * (2 * largest + 64) ** 2
        max_members = _MEMBERS_A_ROW * len(bands) * len(targets) + 1
        most_held = min(_HELD, max(2, _HELD_BYTES // cutout_bytes))
        timeout_s = self._http.network.timeout_s
        waiting = dict(enumerate(targets))
        held: dict[int, _Galaxy] = {}
        unasked = False
        for member in read_members(archive, max_bytes, max_members, timeout_s):
            place = self._place(member.name, len(targets))
            if place is None:
                unasked = True
                continue
            index, band, tract = place
            if index not in waiting:
                continue
            if index not in held:
                for other in [key for key, one in held.items() if one.is_complete(bands)]:
                    yield self._settle(waiting.pop(other), held.pop(other))
                held[index] = _Galaxy()
                if len(held) > most_held:
                    oldest = next(iter(held))
                    yield self._settle(waiting.pop(oldest), held.pop(oldest))
            self._add(held[index], member, targets[index], band, tract)
        for index, target in waiting.items():
            yield self._settle(target, held.pop(index, _Galaxy()), unasked)

    def _place(self, name: str, galaxies: int) -> tuple[int, str, int] | None:
        """Galaxy, band and tract of a member, by its name; None when it was not asked for."""
        match = _NAME.fullmatch(name)
        if match is None or match["rerun"] != self._settings.rerun:
            return None
        index, number = divmod(int(match["line"]) - _FIRST_LINE, len(self._settings.bands))
        band = self._settings.bands[number]
        if not 0 <= index < galaxies or match["filter"] != _FILTERS[band]:
            return None
        return index, band, int(match["tract"])

    def _add(self, galaxy: _Galaxy, member: Member, target: Target, band: str, tract: int) -> None:
        """Cut the square out of one image, and note what is wrong with it."""
        try:
            if member.content is None:
                raise PayloadError("no file, or larger than any that was asked for")
            plane = cut_native(_mosaic(member.content), self._settings.native(target))
        except PayloadError as error:
            galaxy.faults[band] = str(error)
            galaxy.unfit = crc32(member.content or b"", galaxy.unfit + 1)
            return
        if plane is not None and (tract in galaxy.tracts or len(galaxy.tracts) < _MAX_TRACTS):
            galaxy.tracts.setdefault(tract, {}).setdefault(band, plane)

    def _settle(self, target: Target, galaxy: _Galaxy, unasked: bool = False) -> Cutout:
        """Make a cutout of what has come of one galaxy."""
        url = f"{self._path}?{urlencode(self._row(target))}"
        made = Cutout(target, "no_coverage", None, 200, "no image", url, datetime.now(UTC))
        planes = galaxy.best()
        missed = [band for band in galaxy.faults if band not in planes]
        faults = [f"band {band}: {galaxy.faults[band]}" for band in missed]
        if not planes and not faults and unasked:
            faults = ["no image, but others that were not asked for"]
        if faults:
            # As for other services: invalid is what comes as it is twice.
            again = self._unfit.get(target.object_id) == galaxy.unfit
            self._unfit[target.object_id] = galaxy.unfit
            status = "invalid" if again else "failed"
            return replace(made, status=status, reason="; ".join(faults))
        if not planes:
            return made
        native = self._settings.native(target)
        payload, verdict = assemble(planes, self._settings.bands, native)
        return replace(made, status=verdict.status, reason=verdict.reason, payload=payload)


def _mosaic(payload: bytes) -> Mosaic:
    """Read the first image of a file; its zero point is in the primary header."""
    primary = list_hdus(io.BytesIO(payload))[0]
    flux_of_zero = primary.header.get("FLUXMAG0", 10 ** (0.4 * _ZERO_POINT))
    if not isinstance(flux_of_zero, float | int) or not 0 < flux_of_zero < math.inf:
        raise PayloadError(f"FLUXMAG0 is {flux_of_zero!r}")
    header, data = first_image(payload)
    return Mosaic(data, header, zero_point_factor(2.5 * math.log10(flux_of_zero)))
