"""Stage ``rate``: how interesting each galaxy of one partition may be, from its features."""

from pathlib import Path

import pyarrow as pa

from galaxymill import products
from galaxymill.interest.choose import score
from galaxymill.interest.process import Process
from galaxymill.interest.store import read_interest
from galaxymill.spaces.space import as_matrix, require_space
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches

_ROWS = 16384


def rate_partition(features: Path, interest: Path, out: Path) -> None:
    """Rate one partition: one row per row of the features, in their order.

    Parameters
    ----------
    features : Path
        One partition's features.
    interest : Path
        ``interest.yaml`` of an interest in their space.

    Raises
    ------
    UserError
        When the features are of another space.
    """
    fitted, digest = read_interest(interest)
    require_space(features, fitted.space)
    record = read_record(features, "project")
    inputs = {"features": record.digest, "interest": digest}
    # A release proves by the digest of the images that all its tables are of the same.
    inputs["images"] = record.origin["inputs"]["images"]
    origin = Origin("rate", {}, inputs, record.origin["domain"])
    schema = products.interests(fitted.name)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        with open_product(out, schema, origin) as writer:
            for batch in read_batches(features, ["object_id", "flags", "features"], _ROWS):
                writer.write(rate_rows(batch, fitted.process, schema))


def rate_rows(rows: pa.Table, process: Process, schema: pa.Schema) -> pa.Table:
    """Give all columns of some rows of features; nulls where there are none."""
    absent = rows["features"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
    mean, deviation = process.predict(as_matrix(rows["features"]))
    numbers = [pa.array(one, mask=absent) for one in (mean, deviation, score(mean, deviation))]
    return pa.table([rows["object_id"], rows["flags"], *numbers], schema=schema)
