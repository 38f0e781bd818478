"""Stage ``project``: the features of every galaxy of one partition, and its places on maps."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.spaces.fit import embedding_kind
from galaxymill.spaces.space import Space, read_space
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches

_ROWS = 4096


def project(embeddings: Path, predictions: Path, space: Path, out: Path) -> None:
    """Project one partition: one row per row of the embeddings, in their order.

    Parameters
    ----------
    embeddings, predictions : Path
        One partition's products, of one prediction; of the latter only the flags are read.
    space : Path
        ``space.yaml``.

    Raises
    ------
    UserError
        When the space is of other embeddings, or the two products are of other galaxies.
    """
    fitted, digest = read_space(space)
    record, flagged = (read_record(path, "predict") for path in (embeddings, predictions))
    found = embedding_kind(record.origin)
    if found != fitted.embedding:
        raise UserError(
            f"{embeddings}: embeddings of {found}, but {space} is of {fitted.embedding}; fit the "
            "space to these, or predict with its model"
        )
    inputs = {"embeddings": record.digest, "predictions": flagged.digest, "space": digest}
    inputs["images"] = flagged.origin["inputs"]["images"]
    origin = Origin("project", {}, inputs, record.origin["domain"])
    schema = products.features(len(fitted.components), list(fitted.maps))
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        rows = zip(
            read_batches(embeddings, ["object_id", "embedding"], _ROWS),
            read_batches(predictions, ["object_id", "flags"], _ROWS),
            strict=True,
        )
        with open_product(out, schema, origin) as writer:
            for one, other in rows:
                if not one["object_id"].equals(other["object_id"]):
                    raise UserError(
                        f"{embeddings} and {predictions}: not the same galaxies; predict this "
                        "partition again"
                    )
                writer.write(pa.table(_columns(one, other["flags"], fitted), schema=schema))


def _columns(rows: pa.Table, bits: pa.ChunkedArray, space: Space) -> dict[str, pa.Array]:
    """Give all columns of some galaxies; null where there is no embedding, or it is no good."""
    lists = rows["embedding"].combine_chunks()
    there = lists.is_valid().to_numpy(zero_copy_only=False)
    # All numbers as they lie, those of rows without an embedding, too: nothing is copied.
    width = len(space.mean)
    start = lists.offset * width
    numbers = np.frombuffer(lists.values.buffers()[1], np.float16)[start:]
    features, good = space.features(numbers[: len(lists) * width].reshape(-1, width))
    flagged = bits.to_numpy().astype(np.int32)
    flagged[there & ~good] |= flags.BITS["no_features"]
    good &= there
    features[~good] = 0
    valid, absent = pa.array(good).buffers()[1], ~good
    kind = pa.binary(2 * features.shape[1])
    values = pa.Array.from_buffers(kind, len(good), [valid, pa.py_buffer(features)])
    columns = {"object_id": rows["object_id"], "flags": pa.array(flagged), "features": values}
    for name, placer in space.maps.items():
        places = placer.place(features.astype(np.float32))
        for axis, column in enumerate(products.map_columns(name)):
            columns[column] = pa.array(places[:, axis], mask=absent)
    return columns
