"""The product of a detectability: values at the knots of its surfaces, and between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.detectability.covariates import Values, View, covariates
from galaxymill.detectability.read import require_columns
from galaxymill.detectability.settings import DetectabilitySettings
from galaxymill.detectability.surface import FEWEST, Bases, Surface
from galaxymill.storage.columns import field
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_columns

_LEVELS = (0.05, 0.95)


def knot_rows(
    answer: str, bases: Bases, surface: Surface, copies: npt.NDArray[np.intp]
) -> pa.Table:
    """Rows of one answer: a row for each combination of knots; ``copies`` are beside each."""
    corners = bases.corners()
    fit = surface.at(corners)
    few = copies < FEWEST
    low, high = np.quantile(fit.kept, _LEVELS, axis=1)
    columns: dict[str, Any] = {
        "answer": np.full(len(corners), answer),
        "size_fwhm": np.exp(corners[:, 0]),
        "contrast": corners[:, 1],
        "redshift": -corners[:, 2] if corners.shape[1] > 2 else np.full(len(corners), np.nan),
        "detectable": np.where(few, np.nan, fit.kept.mean(axis=1)),
        "low": np.where(few, np.nan, low),
        "high": np.where(few, np.nan, high),
        "made_up": np.where(few, np.nan, fit.made_up.mean(axis=1)),
        "copies": copies,
    }
    arrays = [
        pa.array(columns[one.name], from_pandas=True).cast(one.type, safe=False)
        for one in products.DETECTABILITY
    ]
    return pa.table(arrays, schema=products.DETECTABILITY)


@dataclass(frozen=True)
class Detectable:
    """A detectability as a release uses it: for galaxies as one view shows them."""

    settings: DetectabilitySettings
    view: View
    digest: str
    knots: list[Values]
    values: Mapping[str, Values]
    """By answer, at all combinations of knots."""

    @classmethod
    def read(cls, path: Path, view: View) -> "Detectable":
        """Read ``detectability.parquet``."""
        record = read_record(path, "detectability")
        parameters = dict(record.origin["parameters"])
        settings = DetectabilitySettings.parse(parameters["settings"], str(path))
        table = read_columns(path, products.DETECTABILITY.names)
        axes = [np.log(table["size_fwhm"].to_numpy()), table["contrast"].to_numpy()]
        if settings.redshift:
            axes.append(-table["redshift"].to_numpy())
        knots = [np.unique(axis) for axis in axes]
        shape = [len(own) for own in knots]
        values = {
            answer: table.filter(pc.equal(table["answer"], answer))["detectable"]
            .to_numpy()
            .reshape(shape)
            for answer in parameters["answers"]
        }
        return cls(settings, view, record.digest, knots, values)

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

    def check(self, catalog: pa.Schema, place: object) -> None:
        """Refuse a catalogue without the columns that are needed."""
        require_columns(catalog, self.settings.columns, place)

    def of(self, rows: pa.Table) -> tuple[dict[str, pa.Array], npt.NDArray[np.bool_]]:
        """Give the columns of some rows of the catalogue, and where a fraction is a lower limit."""
        from scipy.interpolate import RegularGridInterpolator

        given = [
            np.asarray(rows[name].cast(pa.float64()).to_numpy(), np.float64)
            for name in self.settings.columns
        ]
        own = covariates(
            given[0], given[1], given[2] if self.settings.redshift else None, self.view
        )
        found: dict[str, pa.Array] = {}
        limited = np.zeros(rows.num_rows, np.bool_)
        for described, values in zip(self.fields, self.values.values(), strict=True):
            between = RegularGridInterpolator(self.knots, values, bounds_error=False)(own)
            limited |= between < self.settings.lower_limit
            found[described.name] = pa.array(between.astype(np.float32), from_pandas=True)
        return found, limited
