"""Features of labelled galaxies, looked up in the products of a space."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.catalog.names import part_names
from galaxymill.errors import UserError
from galaxymill.progress import progress
from galaxymill.spaces.space import as_matrix, require_space
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import read_batches

_ROWS = 16384


@dataclass(frozen=True)
class Features:
    """Features of some galaxies.

    ``rows`` has the row of each galaxy in ``values`` (n, components), float16. ``domain`` is that
    of the images.
    """

    rows: dict[str, int]
    values: npt.NDArray[np.float16]
    domain: dict[str, Any]

    def of(self, object_ids: Sequence[str]) -> npt.NDArray[np.float16]:
        """Features of galaxies that have some; shape (n, components)."""
        return self.values[[self.rows[one] for one in object_ids]]


def find_features(listed: Path, space: str, wanted: Iterable[str]) -> Features:
    """Find the features of galaxies; those without are left out.

    Parameters
    ----------
    listed : Path
        A CSV table with the column ``part``; in its folder lies ``{part}.parquet`` of each.
    space : str
        Digest of the space that they must be of.
    wanted : iterable of str
        Galaxies by ``object_id``.

    Raises
    ------
    UserError
        When features are of another space.
    """
    files = [listed.parent / f"{part}.parquet" for part in part_names(listed)]
    if not files:
        raise UserError(f"{listed}: no partitions; there are no features to learn from")
    chosen = set(wanted)
    names: list[str] = []
    pieces = []
    with progress("features", len(files)) as advance:
        for path in files:
            require_space(path, space)
            for batch in read_batches(path, ["object_id", "features"], _ROWS):
                # A set is made once; pyarrow's `is_in` would hash all that are wanted every time.
                known = [name in chosen for name in batch["object_id"].to_pylist()]
                found = batch.filter(pa.array(known, pa.bool_())).drop_null()
                names += found["object_id"].to_pylist()
                pieces.append(as_matrix(found["features"]))
            advance(1)
    domain = read_record(files[0]).origin["domain"]
    rows = dict(zip(names, range(len(names)), strict=True))
    return Features(rows, np.concatenate(pieces), domain)
