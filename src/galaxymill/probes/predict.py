"""Stage ``apply``: a probe's predictions of every galaxy of one partition, from its features."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from galaxymill import flags, products
from galaxymill.inference.rows import check_finite, summarise, vectors
from galaxymill.inference.settings import PredictSettings
from galaxymill.probes.network import Probe, predict_all
from galaxymill.probes.store import ProbeCard, load_probes
from galaxymill.spaces.space import as_matrix, require_space
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches

_ROWS = 16384


def apply(features: Path, model: Path, out: Path, settings: PredictSettings) -> None:
    """Predict one partition: one row per row of the features, in their order.

    Parameters
    ----------
    features : Path
        One partition's features.
    model : Path
        ``model.yaml`` of a probe on their space.
    out : Path
        The predictions, as of any model; null where there are no features, or a flag says that
        the image is unfit.

    Raises
    ------
    UserError
        When the features are of another space.
    """
    probes, card = load_probes(model)
    require_space(features, card.space)
    record = read_record(features, "project")
    # A release proves by the digest of the images that all its tables are of the same.
    inputs = {"features": record.digest, "images": record.origin["inputs"]["images"]}
    inputs["model"] = card.digest
    origin = Origin("apply", settings.product_settings(), inputs, record.origin["domain"])
    draws = card.settings.networks if "samples" in settings.keep else 0
    schema = products.predictions(card.task, draws)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        with open_product(out, schema, origin) as writer:
            for batch in read_batches(features, ["object_id", "flags", "features"], _ROWS):
                rows = predict_rows(batch, probes, card, flags.unfit_bits(settings.unfit))
                writer.write(rows.select(writer.names))


def predict_rows(rows: pa.Table, probes: list[Probe], card: ProbeCard, unfit: int) -> pa.Table:
    """Give all columns of some rows of features; galaxies without are flagged."""
    bits = rows["flags"].to_numpy().astype(np.int32)
    there = rows["features"].combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    bits[~there & (bits & unfit == 0)] |= flags.BITS["no_features"]
    good = np.flatnonzero(there & (bits & unfit == 0))
    chosen = rows.take(good)
    outputs = predict_all(probes, as_matrix(chosen["features"])).numpy()
    check_finite(chosen["object_id"].to_pylist(), outputs)
    samples = np.full((len(bits), *outputs.shape[1:]), np.nan, np.float32)
    samples[good] = outputs
    absent = np.ones(len(bits), bool)
    absent[good] = False
    kept = vectors(samples.reshape(len(bits), -1), absent, pa.float32())
    columns = {"object_id": rows["object_id"], "flags": pa.array(bits)}
    return pa.table({**columns, card.task.sample_column: kept, **summarise(samples, card.task)})
