"""Whether labelled galaxies are in the catalogue of the survey that their images come from."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from galaxymill.errors import UserError
from galaxymill.storage.origin import read_record
from galaxymill.storage.parquet import open_parquet

_EXAMPLES = 3

logger = logging.getLogger("galaxymill")


def check_overlap(ids: pa.ChunkedArray, catalog: Path, what: str) -> None:
    """Refuse labels that share no galaxy with a catalogue; warn when fewer than half are in it.

    Parameters
    ----------
    ids : pyarrow.ChunkedArray of str
        The labelled galaxies, each once.
    what : str
        The files of labels, to name in errors.

    Raises
    ------
    UserError
        With examples of both sides.
    """
    read_record(catalog, "ingest")
    with open_parquet(catalog, ["object_id"]) as file:
        known = file.read(["object_id"])["object_id"]
    outside = ids.filter(pc.invert(pc.is_in(ids, value_set=known)))
    shared = len(ids) - len(outside)
    if shared == 0:
        raise UserError(
            f"{what}: none of {len(ids)} galaxies is in the catalogue {catalog}: "
            f"{_examples(ids)} in the labels, {_examples(known)} in the catalogue; let object_id "
            "name columns of the same identifiers in both"
        )
    if 2 * shared < len(ids):
        logger.warning(
            "labels: %d of %d galaxies are in the catalogue %s; nothing is learned from the others:"
            " %s",
            *(shared, len(ids), catalog, _examples(outside)),
        )


def _examples(ids: pa.ChunkedArray) -> str:
    more = ", …" if len(ids) > _EXAMPLES else ""
    return ", ".join(map(repr, ids[:_EXAMPLES].to_pylist())) + more
