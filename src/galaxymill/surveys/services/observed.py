"""Service ``observed``: the cutouts of another survey, as they would look elsewhere.

Fluxes are shrunk and dimmed as by distance, point sources and pixels become the target's, and the
noise that the target's sky has beyond what is left of the source's is added. What is not done:
no K-correction and no evolution of galaxies, no noise of the galaxies' own light, no crowding.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BeforeValidator, Field, model_validator

from galaxymill.decoding.decode import PayloadError, read_fits
from galaxymill.errors import UserError
from galaxymill.settings import Name, parse_json
from galaxymill.simulation.sky import generator
from galaxymill.storage.origin import read_record
from galaxymill.surveys.base import MAX_SIZE, Cutout, Service, ServiceSettings, Target
from galaxymill.surveys.observe.distance import Move, farther, to_redshift
from galaxymill.surveys.observe.draw import CannotShowError, Source, Wanted, draw
from galaxymill.surveys.telescope import Depth, Seeing, Telescope
from galaxymill.surveys.validate import check_payload

_COMMON_SIZE = 256


class ObservedSettings(ServiceSettings):
    """Settings of the service ``observed``."""

    operational: ClassVar[frozenset[str]] = ServiceSettings.operational | {"cutouts"}
    files: ClassVar[frozenset[str]] = ServiceSettings.files | {"cutouts"}
    uses_positions: ClassVar[bool] = False

    survey: Name = Field(description="the survey whose cutouts are shown anew")
    farther: float = Field(1.0, ge=1, le=1000, description="times as far away")
    redshift: float | None = Field(
        None,
        gt=0,
        le=20,
        description="or at this redshift, from the galaxy's own, which catalog.own_redshift names",
    )
    seeing: Seeing = Field({}, description="FWHM of point sources by band, arcsec; default: as is")
    depth: Depth = Field({}, description="5 sigma depth by band, AB magnitudes; default: as is")
    pixel_scale: float = Field(0.0, ge=0, le=60, description="arcsec per pixel; 0: as it is")
    size: int = Field(
        0, ge=0, le=MAX_SIZE, description="width and height in pixels; 0: all that is covered"
    )
    seed: int = Field(
        1, ge=0, description="of the noise: other numbers give more images of the same galaxies"
    )
    source: Annotated[Telescope, BeforeValidator(parse_json)] = Field(
        Telescope(), description="telescope of that survey, unless the survey itself names it"
    )
    cutouts: Path | None = Field(
        None, description="the survey's cutouts of this partition; a workflow gives them"
    )

    @model_validator(mode="after")
    def _one_distance(self) -> Self:
        if self.redshift is not None and self.farther != 1:
            raise ValueError("farther and redshift are two ways to say one thing; give one")
        return self

    @property
    def target(self) -> Telescope:
        """The telescope that the galaxies are shown by."""
        update = {
            "seeing": {**self.source.seeing, **self.seeing},
            "depth": {**self.source.depth, **self.depth},
        }
        return self.source.model_copy(update=update)

    @property
    def wanted(self) -> Wanted:
        """How they are shown; the same telescope has the source's own sky."""
        same_sky = not (self.seeing or self.depth)
        return Wanted(self.bands, self.target, self.pixel_scale, self.size, same_sky)

    def payload_bytes(self, size: int) -> int:
        """Estimate the bytes of one cutout; where all that is covered is shown, by the usual."""
        return super().payload_bytes(size or _COMMON_SIZE)

    def requests(self, galaxies: int) -> int:
        """Count requests: there are none."""
        return 0


def shown(
    target: Target,
    make: Callable[[], bytes],
    bands: Sequence[str],
    url: str,
    when: datetime | None,
) -> Cutout:
    """Make the cutout of a galaxy shown elsewhere, by `draw`; why it cannot be is its reason."""
    try:
        payload = make()
    except CannotShowError as error:
        return Cutout(target, "no_coverage", reason=str(error), url=url, fetched_at=when)
    except PayloadError as error:
        return Cutout(target, "invalid", reason=str(error), url=url, fetched_at=when)
    verdict = check_payload(payload, None, bands)
    return Cutout(target, verdict.status, payload, None, verdict.reason, url, when)


class ObservedService(Service):
    """Draw each target from the source's cutout."""

    def __init__(self, settings: ObservedSettings) -> None:
        if settings.cutouts is None:
            raise UserError(
                "cutouts: the source's cutouts of this partition; --set cutouts=PATH.parquet"
            )
        read_record(settings.cutouts, "fetch")
        self._settings = settings
        self._rows = _Rows(settings.cutouts)

    def fetch(self, targets: Iterable[Target]) -> Iterator[Cutout]:
        """Answer every target; one that the source does not show is ``no_coverage``."""
        for target in targets:
            yield self._cutout(target)

    def close(self) -> None:
        """Close the source's cutouts."""
        self._rows.close()

    def _cutout(self, target: Target) -> Cutout:
        settings, url = self._settings, f"observed:{self._settings.survey}"
        row = self._rows.get(target.object_id)
        if row is None:
            why = f"no such galaxy among the cutouts of {settings.survey}"
            return Cutout(target, "no_coverage", reason=why, url=url)
        when = row["fetched_at"]
        if row["status"] not in ("ok", "partial"):
            why = f"{settings.survey}: {row['status']}: {row['reason']}"
            return Cutout(target, "no_coverage", reason=why, url=url, fetched_at=when)
        return shown(target, partial(self._draw, target, row), settings.bands, url, when)

    def _draw(self, target: Target, row: Mapping[str, Any]) -> bytes:
        draws = partial(self._random, target.object_id)
        return draw(self._source(row), self._move(target), self._settings.wanted, draws)

    def _source(self, row: Mapping[str, Any]) -> Source:
        cutout = read_fits(row["payload"])
        pixel = cutout.pixel_scale or row["pixel_scale"]
        if not pixel:
            raise CannotShowError("its pixel scale is not known: its header has none")
        telescope = self._settings.source
        return Source(cutout.planes, pixel, cutout.place, telescope, cutout.cards)

    def _move(self, target: Target) -> Move:
        wanted, own = self._settings.redshift, target.redshift
        if wanted is None:
            return farther(self._settings.farther)
        if own is None or not 0 < own <= wanted:
            has = "no redshift" if own is None or math.isnan(own) else f"redshift {own:g}"
            raise CannotShowError(
                f"it has {has}; above 0 and at most {wanted:g} can be shown there"
            )
        return to_redshift(own, wanted)

    def _random(self, object_id: str, band: str) -> np.random.Generator:
        """Random numbers of a galaxy's band: the same wherever and whenever it is drawn."""
        one = self._settings
        return generator(one.seed, one.survey, one.farther, one.redshift, object_id, band)


class _Rows:
    """Rows of a product of cutouts by ``object_id``, of which one row group is held."""

    def __init__(self, path: Path) -> None:
        # With pre_buffer, all columns of all row groups would be read at once.
        self._file = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
        groups = range(self._file.num_row_groups)
        ids = [self._file.read_row_group(group, ["object_id"])["object_id"] for group in groups]
        self._at = {
            object_id: (group, row)
            for group, column in enumerate(ids)
            for row, object_id in enumerate(column.to_pylist())
        }
        self._held: tuple[int, pa.Table] | None = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def get(self, object_id: str) -> dict[str, Any] | None:
        """Give one row, None when there is none."""
        group, row = self._at.get(object_id, (-1, 0))
        if group < 0:
            return None
        if self._held is None or self._held[0] != group:
            self._held = None
            self._held = group, self._file.read_row_group(group)
        found: dict[str, Any] = self._held[1].slice(row, 1).to_pylist()[0]
        return found
