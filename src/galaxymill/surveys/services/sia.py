"""Service ``sia``: FITS cutouts of any IVOA archive that speaks SIA2, DataLink and SODA, or SIA1.

With ``tap`` one query finds the images of a thousand galaxies (an upload joined with ObsCore);
without it SIA2 is asked once a galaxy. Of several images that hold a galaxy, the one whose centre
is nearest is cut. A links service that the list of images describes is asked before the addresses
in its rows. Where the first two DataLinks of a collection agree, its SODA service is known; then
each band is one request, of what the descriptor fixes and a circle (CIRCLE, else POS). An archive
without SODA serves its files whole: these are cut here when they are small. Of several images in
one answer, the one that fills most of the square counts.
With ``protocol: sia1`` (NOIRLab) a galaxy is one query more, which lists cutouts ready to be had.

It cannot mosaic: where an image ends, so does the cutout, which is then ``partial``. Bands are
stacked pixel on pixel and not resampled: they must share one pixel scale, and images on different
grids are up to a pixel apart. It knows bearer tokens only (no X.509, no password), and
asynchronous TAP and SODA not at all, nor SODA by POLYGON or by other parameters alone. A ``where``
needs ``tap``.
"""

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from galaxymill.decoding.decode import PayloadError
from galaxymill.decoding.hdus import is_auxiliary, one_fault, read_images, unpack
from galaxymill.settings import Numbers
from galaxymill.surveys.base import (
    MAX_PAYLOAD_BYTES,
    MAX_SIZE,
    Cutout,
    ServiceSettings,
    Target,
    cutout_of,
)
from galaxymill.surveys.ivoa.datalink import Cutter, Link, with_query
from galaxymill.surveys.ivoa.obscore import WAVELENGTHS, Dataset, bands_of, choose
from galaxymill.surveys.ivoa.queries import REFUSED, UPLOAD_ROWS, Archive
from galaxymill.surveys.ivoa.votable import ArchiveError, explain, says_error, shorten
from galaxymill.surveys.mosaics.mosaic import Mosaic, Plane, cut, flux_factors, stack
from galaxymill.surveys.per_galaxy import HttpService
from galaxymill.surveys.validate import CUT_TOLERANCE_PIXELS, check_payload
from galaxymill.web.answer import Answer, Verdict
from galaxymill.web.credentials import token_headers
from galaxymill.web.network import Network, ServiceError, Url

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "rubin": {
        "server": "https://data.lsst.cloud/api/sia/dp1/query",
        "tap": "https://data.lsst.cloud/api/tap",
        "collection": "LSST.DP1",
        "where": "o.dataproduct_subtype = 'lsst.deep_coadd'",
        "band_column": "lsst_band",
        "zero_points": (31.4,),
        "token_variable": "GALAXYMILL_RUBIN_TOKEN",
    },
    "cadc": {
        "server": "https://ws.cadc-ccda.hia-iha.nrc-cnrc.gc.ca/sia/v2query",
        "tap": "https://ws.cadc-ccda.hia-iha.nrc-cnrc.gc.ca/argus",
    },
    # The coadds of DES; other collections by their own endpoint and zero point.
    "noirlab": {
        "protocol": "sia1",
        "server": "https://datalab.noirlab.edu/sia/des_dr2",
        "band_column": "obs_bandpass",
        "zero_points": (30.0,),
    },
}
_MARGIN_ARCSEC = 1.0
_LINKS_FIRST = 2


def _at_least_one(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


class SiaSettings(ServiceSettings):
    """Settings of the service ``sia``.

    ``server`` and ``tap`` name the archive, and so are part of the product; ``soda`` is of the same
    archive, and what a preset fills in counts by its values.
    """

    operational: ClassVar[frozenset[str]] = frozenset(
        {"footprint", "preset", "soda", "token_variable"}
    )

    preset: Literal["none", "rubin", "cadc", "noirlab"] = Field(
        "none", description="archive whose addresses and columns fill the keys that are not given"
    )
    protocol: Literal["sia2", "sia1"] = Field(
        "sia2", description="sia2, or sia1 for archives that list cutouts ready to be had"
    )
    server: Url | Literal[""] = Field(
        "", description="query endpoint; its host gets the token, and no other"
    )
    tap: Url | Literal[""] = Field(
        "", description="TAP service with uploads: one query a thousand galaxies"
    )
    obscore: str = Field("ivoa.ObsCore", pattern=r"^[\w.]+$", description="ObsCore table of `tap`")
    collection: str = Field("", description="obs_collection of the images; empty for any")
    calib_level: int | None = Field(None, ge=0, le=4, description="calib_level of the images")
    where: str = Field(
        "", pattern=r"^[^\n;]*$", description="further ADQL condition on the table o; needs `tap`"
    )
    band_column: str = Field(
        "", pattern=r"^\w*$", description="ObsCore column of band names; without it, wavelengths"
    )
    soda: Url | Literal[""] = Field(
        "", description="SODA sync service, asked by obs_publisher_did; found by DataLink if empty"
    )
    zero_points: Annotated[Numbers, BeforeValidator(_at_least_one)] = Field(
        (22.5,), description="AB zero point of the pixels: one number, or one a band"
    )
    token_variable: str = Field(
        "", pattern=r"^\w*$", description="environment variable that holds a bearer token"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, plain: Any) -> Any:
        if not isinstance(plain, dict):
            return plain
        return {**PRESETS.get(str(plain.get("preset")), {}), **plain}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.server:
            raise ValueError("server is required without a preset")
        flux_factors(self.zero_points, self.bands)
        if self.protocol == "sia1":
            self._require_sia1()
        if self.where and not self.tap:
            raise ValueError("where needs tap: SIA2 takes no ADQL")
        unknown = [band for band in self.bands if band not in WAVELENGTHS]
        if unknown and not self.band_column:
            raise ValueError(
                f"no wavelength is known for band {', '.join(unknown)}; allowed without "
                f"band_column: {', '.join(WAVELENGTHS)}"
            )
        return self

    def _require_sia1(self) -> None:
        unfit = [name for name in ("tap", "soda", "collection") if getattr(self, name)]
        if unfit or self.calib_level is not None:
            names = ", ".join(unfit) or "calib_level"
            raise ValueError(f"{names}: not with protocol sia1; leave it out")
        if not self.band_column:
            raise ValueError("band_column is required with protocol sia1")

    def requests(self, galaxies: int) -> int:
        """One a band and galaxy, those that find images, and two DataLinks in all."""
        searches = math.ceil(galaxies / UPLOAD_ROWS) if self.tap else galaxies
        links = 0 if self.soda or self.protocol == "sia1" else _LINKS_FIRST
        return searches + len(self.bands) * galaxies + links


class SiaService(HttpService):
    """Find each galaxy's images, and have them cut by the archive."""

    _settings: SiaSettings

    def __init__(self, settings: SiaSettings, network: Network) -> None:
        super().__init__(settings, network, headers=token_headers(settings.token_variable))
        self._factors = flux_factors(settings.zero_points, settings.bands)
        self._archive = Archive(self._http, settings)
        self._found: dict[str, list[Dataset] | ArchiveError] = {}
        self._stopped: ServiceError | None = None

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target, as the answers come."""
        located = self._located(targets) if self._settings.tap else targets
        bytes_each = self._settings.payload_bytes(self._settings.size)
        return self._http.map_bounded(self._cutout, located, bytes_each)

    def _located(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Find the images of a thousand galaxies at a time, and yield these galaxies."""
        waiting = iter(targets)
        while batch := list(islice(waiting, UPLOAD_ROWS)):
            try:
                found = self._archive.join(batch)
            except (ArchiveError, ServiceError) as error:
                # Its thread raises: galaxies that are under way still bring their answers.
                self._stopped = ServiceError(str(error))
                yield batch[0]
                return
            for target in batch:
                self._found[target.object_id] = found.get(target.object_id, [])
                yield target

    def _datasets(self, target: Target) -> list[Dataset]:
        if not self._settings.tap:
            return self._archive.search(target, 2 * _radius_deg(target))
        if target.object_id not in self._found and self._stopped is not None:
            raise self._stopped
        found = self._found.pop(target.object_id)
        if isinstance(found, ArchiveError):
            raise found
        return found

    def _cutout(self, target: Target) -> Cutout:
        try:
            datasets = self._datasets(target)
            answers: dict[str, Answer] = {}
            planes: dict[str, Plane] = {}
            for band, factor in self._factors.items():
                dataset = choose(self._settings, datasets, target, band)
                if dataset is None:
                    continue
                answers[band], plane = self._answer(target, dataset, factor)
                if plane is not None:
                    planes[band] = plane
        except ArchiveError as error:
            if error.answer is not None:
                return cutout_of(error.answer, target)
            return Cutout(target, "failed", None, error.http_status, str(error))
        if not answers:
            reason = "no image holds this position"
            if datasets:
                there = shorten(bands_of(self._settings, datasets))
                reason = f"images of {there} hold this position, none of a band that is asked for"
            return Cutout(target, "no_coverage", None, 200, reason)
        last = answers[list(planes or answers)[-1]]
        if not planes:
            return cutout_of(last, target, "no_coverage", "no overlap with the image")
        return self._stacked(target, planes, last)

    def _answer(
        self, target: Target, dataset: Dataset, factor: float
    ) -> tuple[Answer, Plane | None]:
        """Have one image cut, None when it does not reach the galaxy; raises ArchiveError."""
        link = self._link(dataset)
        try:
            return self._ask(target, dataset, link, factor)
        except ArchiveError as error:
            if not (link.assumed and error.http_status in REFUSED):
                raise
            own = self._archive.own_link(self._linked(dataset))
            if (own.cutter, own.identifier) == (link.cutter, link.identifier):
                raise
        return self._ask(target, dataset, own, factor)

    def _ask(
        self, target: Target, dataset: Dataset, link: Link, factor: float
    ) -> tuple[Answer, Plane | None]:
        url, public = _request(target, dataset, link)
        address = self._own(url)
        if urlsplit(address).scheme not in ("http", "https"):
            raise ArchiveError("the archive gives an address that is not of http or https")
        planes: list[Plane | None] = []

        def judge(answer: Answer) -> Verdict:
            if says_error(answer):
                return Verdict("failed", explain(answer), refused=True)
            planes.append(_cut_file(answer.payload, target, factor))
            if planes[-1] is None and link.cutter:
                raise PayloadError("the archive has cut out another place")
            return Verdict("ok")

        answer = self._http.get(
            address,
            group="SODA" if link.cutter else "file",
            judge=judge,
            otherwise=lambda answer: Verdict("failed", explain(answer)),
        )
        answer = replace(answer, url=public)
        if answer.verdict.status not in ("ok", "no_coverage"):
            raise ArchiveError(answer.why, answer.http_status, answer)
        return answer, planes[-1] if planes else None

    def _link(self, dataset: Dataset) -> Link:
        if self._settings.soda:
            return Link(Cutter(self._settings.soda), dataset.did)
        if not dataset.links_url:
            return Link(None, "", dataset.file_url, dataset.kilobytes)
        return self._archive.link(self._linked(dataset))

    def _linked(self, dataset: Dataset) -> Dataset:
        links_url, access_url = self._own(dataset.links_url), self._own(dataset.access_url)
        return replace(dataset, links_url=links_url, access_url=access_url)

    def _own(self, url: str) -> str:
        """Address the server itself by the scheme of the config: it gets the token."""
        own = urlsplit(self._settings.server)
        try:
            other = urlsplit(url)
        except ValueError as error:
            raise ArchiveError("the archive gives an address that cannot be read") from error
        return other._replace(scheme=own.scheme).geturl() if own.netloc == other.netloc else url

    def _stacked(self, target: Target, planes: dict[str, Plane], last: Answer) -> Cutout:
        if len({plane.data.shape for plane in planes.values()}) > 1:
            return cutout_of(last, target, "invalid", "the bands differ in pixel scale")
        first = next(iter(planes.values()))
        scale = Mosaic(first.data, first.header).pixel_scale
        field = replace(target, size=len(first.data), pixel_scale=scale)
        payload = stack(planes, self._settings.bands)
        verdict = check_payload(
            payload, field, self._settings.bands, CUT_TOLERANCE_PIXELS, max_holes=1
        )
        status, reason = verdict.status, verdict.reason
        if status == "ok" and not all(plane.whole for plane in planes.values()):
            status, reason = "partial", "reaches over the edge of the image"
        return cutout_of(replace(last, payload=payload), target, status, reason)


def _request(target: Target, dataset: Dataset, link: Link) -> tuple[str, str]:
    """Address of a cutout, or of a small file, and what products show of it: it may be signed."""
    if link.cutter is not None:
        region = link.cutter.region(link.identifier, target, _radius_deg(target))
        url = with_query(link.cutter.url, {**link.cutter.constants, **region})
        return url, f"?{urlencode(region, quote_via=quote)}"
    if not link.file_url:
        raise ArchiveError(f"the archive {link.why_whole} and of no FITS file")
    if link.kilobytes * 1000 > MAX_PAYLOAD_BYTES:
        raise ArchiveError(
            f"the archive {link.why_whole}, and the file is too large to be fetched whole "
            f"({link.kilobytes / 1000:.0f} MB; at most {MAX_PAYLOAD_BYTES / 1e6:.0f})"
        )
    return link.file_url, dataset.did or link.file_url.partition("?")[0].rpartition("/")[2]


def _radius_deg(target: Target) -> float:
    """Radius of the field's circumcircle, with a margin for pixels larger than asked for."""
    field_arcsec = target.size * target.pixel_scale
    margin_arcsec = max(2 * target.pixel_scale, _MARGIN_ARCSEC)
    return (field_arcsec / math.sqrt(2) + margin_arcsec) / 3600


def _cut_file(packed: bytes, target: Target, factor: float) -> Plane | None:
    """Cut the square out of the science image of a file that fills most of it, in nanomaggies.

    None when no image reaches the galaxy; PayloadError when none can be used.
    """
    if not packed:
        raise PayloadError("empty answer", truncated=True)
    planes: list[Plane] = []
    faults: list[PayloadError] = []
    for header, data in _science_images(unpack(io.BytesIO(packed), MAX_PAYLOAD_BYTES).read()):
        mosaic = Mosaic(data, header, factor)
        try:
            with one_fault("unusable WCS"):
                size, scale = mosaic.size_of(target), mosaic.pixel_scale
                if size > MAX_SIZE:
                    raise PayloadError(f"the field spans {size} pixels of {scale:.3g} arcsec")
                if (plane := cut(mosaic, target, size)) is not None:
                    planes.append(plane)
        except PayloadError as error:
            faults.append(error)
    if not planes and faults:
        raise faults[0]
    return max(planes, key=lambda plane: np.isfinite(plane.data).sum(), default=None)


def _science_images(payload: bytes) -> list[tuple[Any, Any]]:
    """Leave out masks, weights and variances: by their names, and integers beside real numbers."""
    images = list(read_images(payload))
    named = [image for image in images if not is_auxiliary(image[0])]
    if not named:
        others = " but masks and weights" if images else ""
        raise PayloadError(f"no image of two dimensions{others}")
    return [image for image in named if image[1].dtype.kind == "f"] or named
