"""Stage ``predict``: the posterior morphology of every galaxy of one partition."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.inference.posterior import summarise
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.store import ModelCard, read_card
from galaxymill.progress import progress
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, Record, is_made, read_record
from galaxymill.storage.parquet import open_product, read_batches

logger = logging.getLogger("galaxymill")


def predict(
    images: Path,
    model: Path,
    out: Path,
    embeddings: Path,
    settings: PredictSettings,
    device: str = "auto",
) -> None:
    """Predict one partition.

    Parameters
    ----------
    images : Path
        From `galaxymill.images.render.render`.
    model : Path
        ``model.yaml``.
    out, embeddings : Path
        The predictions and the embeddings: one row per row of the images, in their order;
        nulls where the image is unfit.
    settings : PredictSettings
    device : str
        ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    UserError
        When the model learned from another survey or recipe and that is not allowed.
    """
    record, card = read_record(images), read_card(model)
    shifted = _check_domain(images, record, model, card, settings)
    inputs = {"images": record.digest, "model": card.digest}
    origin = Origin("predict", settings.model_dump(mode="json"), inputs, record.origin["domain"])
    with exclusive(out) as waited, exclusive(embeddings):
        if waited and is_made(out, origin) and is_made(embeddings, origin):
            return
        # torch takes seconds to import: only those who predict pay.
        from galaxymill.inference.predictor import Predictor

        predictor = Predictor.load(model, settings.samples, device)
        schema = products.predictions(card.tree, predictor.draws)
        unfit = flags.unfit_bits(settings.unfit)
        with (
            open_product(embeddings, products.embeddings(predictor.features), origin) as features,
            open_product(out, schema, origin) as writer,
            progress(f"predict {images.stem}", record.rows) as advance,
        ):
            for batch in read_batches(images, ["object_id", "image", "flags"]):
                rows, embedded = _predict_rows(batch, predictor, unfit, shifted)
                writer.write(rows)
                features.write(embedded)
                advance(batch.num_rows)


def _check_domain(
    images: Path, record: Record, model: Path, card: ModelCard, settings: PredictSettings
) -> bool:
    """Tell whether the model comes from elsewhere; refuse when that is not allowed."""
    ours = record.origin["domain"]
    if ours in card.domains:
        return False
    theirs = card.domains[0]
    differing = {key for key in theirs | ours if theirs.get(key) != ours.get(key)}
    if differing and not settings.allow_domain_shift:
        told = "; ".join(
            f"{key}: model {theirs.get(key)!r}, images {ours.get(key)!r}"
            for key in sorted(differing)
        )
        raise UserError(
            f"{model} was trained on other images than {images}: {told}. Train on this survey, or "
            "set allow_domain_shift: true in the release's predict settings to flag every row"
        )
    return bool(differing)


def _predict_rows(
    batch: pa.Table, predictor: Any, unfit: int, shifted: bool
) -> tuple[pa.Table, pa.Table]:
    """Predict the fit galaxies of a batch and leave nulls for the others."""
    rows = batch.to_pylist()
    fit = [
        place
        for place, row in enumerate(rows)
        if row["image"] is not None and not row["flags"] & unfit
    ]
    ids = [rows[place]["object_id"] for place in fit]
    alpha, embedded = predictor.predict(ids, [rows[place]["image"]["bytes"] for place in fit])
    tree = predictor.tree
    concentrations = np.full((len(rows), predictor.draws, len(tree.columns)), np.nan, np.float32)
    concentrations[fit] = alpha
    absent = np.ones(len(rows), bool)
    absent[fit] = False
    bits = flags.BITS["domain_shift"] if shifted else 0
    table = {
        "object_id": batch["object_id"],
        "flags": pa.array([row["flags"] | bits for row in rows], pa.int32()),
        "concentrations": _vectors(concentrations.reshape(len(rows), -1), absent, pa.float32()),
        **summarise(concentrations, tree),
    }
    whole = np.zeros((len(rows), embedded.shape[1]), np.float16)
    whole[fit] = embedded.astype(np.float16)
    vectors = {"object_id": batch["object_id"], "embedding": _vectors(whole, absent, pa.float16())}
    return pa.table(table), pa.table(vectors)


def _vectors(values: np.ndarray, absent: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Rows of a matrix as a fixed-size list column, null where ``absent``."""
    flat = pa.array(np.where(absent[:, None], 0, values).ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(absent))
