"""The product of a detectability: values at the knots of surfaces; what a release takes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxymill import products
from galaxymill.detectability.covariates import (
    Values,
    View,
    covariates,
    numbers,
    require_columns,
)
from galaxymill.detectability.settings import DetectabilitySettings
from galaxymill.errors import UserError
from galaxymill.storage.columns import field
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_columns


@dataclass(frozen=True)
class Detectable:
    """A detectability as a release uses it: for galaxies as one view shows them.

    ``values`` of each answer are at all combinations of ``knots``; ``digest`` is of table and view.
    """

    settings: DetectabilitySettings
    view: View
    digest: str
    knots: list[Values]
    values: Mapping[str, Values]

    @classmethod
    def read(cls, path: Path, view: View) -> "Detectable":
        """Read ``detectability.parquet``; a `UserError` when it is none."""
        record = read_record(path, "detectability")
        parameters = dict(record.origin["parameters"])
        parameters.pop("views")
        settings = DetectabilitySettings.parse(parameters, str(path))
        table = read_columns(path, products.DETECTABILITY.names)
        axes = [np.log(table["size_fwhm"].to_numpy()), table["contrast"].to_numpy()]
        axes += [-table["redshift"].to_numpy()] if settings.redshift else []
        knots = [np.unique(axis) for axis in axes]
        values = {
            answer: numbers(table.filter(pc.equal(table["answer"], answer))["detectable"])
            for answer in settings.answers
        }
        shape = [len(own) for own in knots]
        shaped = {answer: found.reshape(shape) for answer, found in values.items()}
        digest = sha256_json([record.digest, view.product_settings()])
        return cls(settings, view, digest, knots, shaped)

    @property
    def fields(self) -> list[pa.Field]:
        """Columns that a release has of it."""
        return [
            field(
                products.detectable_column(answer),
                pa.float32(),
                f"of those who would see {answer} in the same galaxy nearby, share who still see "
                "it at this size and brightness; null outside the range tried",
            )
            for answer in self.values
        ]

    def check(self, objects: Path) -> None:
        """Refuse a catalogue without the columns that are needed."""
        require_columns(pq.read_schema(objects), self.settings.columns, objects)

    def of(self, rows: pa.Table) -> tuple[dict[str, pa.ChunkedArray], npt.NDArray[np.bool_]]:
        """Give the columns of some rows of the catalogue, and where a fraction is a lower limit."""
        from scipy.interpolate import RegularGridInterpolator

        given = [numbers(rows[name]) for name in self.settings.columns]
        own = covariates(given, None, self.view)
        found: dict[str, pa.ChunkedArray] = {}
        limited = np.zeros(rows.num_rows, np.bool_)
        for described, values in zip(self.fields, self.values.values(), strict=True):
            between = RegularGridInterpolator(self.knots, values, bounds_error=False)(own)
            limited |= between < self.settings.lower_limit
            known = pa.array(between.astype(np.float32), from_pandas=True)
            found[described.name] = pa.chunked_array([known])
        return found, limited


def read_detectable(path: Path | None, view: str) -> Detectable | None:
    """Read a detectability, if there is one, for a survey whose view is given as JSON."""
    if path is None:
        return None
    if not view:
        raise UserError(f"{path}: give --view with the seeing and depth of the survey as well")
    return Detectable.read(path, View.parse_flag(view))
