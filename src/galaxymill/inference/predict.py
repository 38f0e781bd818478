"""Stage ``predict``: the posterior morphology of every galaxy of one partition."""

import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.images.domains import WAYS_OUT, alike, differences
from galaxymill.images.pixels import unfit_rows
from galaxymill.inference.rows import Rows
from galaxymill.inference.settings import PredictSettings
from galaxymill.inference.stream import chunk_stream
from galaxymill.models.store import ModelCard, read_card, read_features
from galaxymill.progress import progress
from galaxymill.reasons import Reasons
from galaxymill.storage.atomic import exclusive
from galaxymill.storage.origin import Origin, Record, is_made, read_record
from galaxymill.storage.parquet import open_product
from galaxymill.storage.records import RecordFile, open_records

if TYPE_CHECKING:
    from galaxymill.inference.predictor import Predictor

UNDER_WAY = 2
"""Most chunks that the network has done and that are not written yet."""

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class _Request:
    """The arguments of one call, and what was read of its inputs."""

    images: Path
    record: Record
    model: Path
    card: ModelCard
    settings: PredictSettings
    shifted: bool
    threads: int

    @property
    def origin(self) -> Origin:
        inputs = {"images": self.record.digest, "model": self.card.digest}
        domain = self.record.origin["domain"]
        return Origin("predict", self.settings.product_settings(), inputs, domain)


def predict(
    images: Path,
    model: Path,
    out: Path,
    embeddings: Path | None,
    settings: PredictSettings,
    threads: int = 0,
) -> None:
    """Predict one partition; a job that was killed goes on after its last chunk.

    Parameters
    ----------
    images : Path
        From `galaxymill.images.render.render`.
    model : Path
        ``model.yaml``, or the folder that holds it.
    out : Path
        The predictions: one row per row of the images, in their order; nulls where the image
        is unfit or cannot be decoded.
    embeddings : Path or None
        The embeddings, likewise; None to write none.
    threads : int
        Of the CPU; 0: as many as this process may use.

    Raises
    ------
    UserError
        When the model learned from another survey or recipe and that is not allowed.
    """
    model = model / "model.yaml" if model.is_dir() else model
    record, card = read_record(images), read_card(model)
    shifted = _check_domain(images, record, model, card, settings)
    threads = threads or len(os.sched_getaffinity(0))
    request = _Request(images, record, model, card, settings, shifted, threads)
    outs = [out, embeddings] if embeddings else [out]
    with ExitStack() as locks:
        waited = [locks.enter_context(exclusive(path)) for path in outs]
        if any(waited) and all(is_made(path, request.origin) for path in outs):
            return
        _write(request, out, embeddings)


def _check_domain(
    images: Path, record: Record, model: Path, card: ModelCard, settings: PredictSettings
) -> bool:
    """Whether the model learned from other images, which is refused unless it is allowed.

    An encoder alone has learned from none.
    """
    ours = record.origin["domain"]
    if not card.domains or any(alike(theirs, ours) for theirs in card.domains):
        return False
    message = differences(card.domains[0], ours, "{}: model {!r}, images {!r}")
    if not settings.allow_domain_shift:
        raise UserError(f"{model} was trained on other images than {images}: {message}. {WAYS_OUT}")
    return True


def _write(request: _Request, out: Path, embeddings: Path | None) -> None:
    """Write the products, first what a killed job has left in the file beside them."""
    key = {
        "origin": request.origin.to_dict(),
        "precision": request.settings.precision,
        "embeddings": embeddings is not None,
    }
    features = read_features(request.model) if embeddings else 0
    features *= 2 if request.settings.pool == "mean_std" else 1
    rows = Rows(request.card, request.settings, request.shifted, features)
    with ExitStack() as stack:
        part = stack.enter_context(open_records(out, key))
        # The last that is opened takes its place first: predictions come last.
        writers = [
            stack.enter_context(open_product(path, schema, request.origin))
            for path, schema in ((out, rows.predictions), (embeddings, rows.embeddings))
            if path is not None
        ]
        advance = stack.enter_context(
            progress(f"predict {request.images.stem}", request.record.rows)
        )

        def keep(table: pa.Table) -> None:
            for writer in writers:
                writer.write(table.select(writer.names))
            advance(table.num_rows)

        done = _resume(part, keep)
        for table in _tables(request, rows, done):
            part.append({"rows": table.num_rows}, _to_bytes(table))
            keep(table)


def _resume(part: RecordFile, keep: Any) -> int:
    """Keep the rows that a killed job has made; give their number."""
    done = 0
    for _, _, payload in part.records():
        table = pa.ipc.open_stream(payload).read_all()
        keep(table)
        done += table.num_rows
    if done:
        logger.info("predict: goes on after %d galaxies", done)
    return done


def _to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _tables(request: _Request, rows: Rows, done: int) -> Iterator[pa.Table]:
    """Predict the rows from ``done`` on, chunk by chunk."""
    if done >= request.record.rows > 0:
        return
    unfit = flags.unfit_bits(request.settings.unfit)
    reasons = Reasons.of(unfit_rows(request.images, unfit))
    if 2 * reasons.total > request.record.rows:
        logger.warning("predict: without a fit image: %s", reasons.summary(request.record.rows))
    model = request.card.settings
    # The first images are decoded while torch is imported, which takes seconds.
    with (
        chunk_stream(request.images, model, unfit, rows.at_once, done, request.threads) as stream,
        ThreadPoolExecutor(1, "tables") as pool,
    ):
        predictor = _load(request, request.record.rows - done)
        waiting: deque[Future[pa.Table]] = deque()
        waited, start = 0.0, time.monotonic()
        while True:
            begin = time.monotonic()
            chunk = next(stream, None)
            waited += time.monotonic() - begin
            if chunk is None:
                break
            outputs = predictor.predict_pixels(chunk.fit_ids, chunk.pixels)
            waiting.append(pool.submit(rows.table, chunk, *outputs))
            while len(waiting) > UNDER_WAY:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        share = 100 * waited / max(time.monotonic() - start, 1e-9)
        logger.info("predict: the network waited %.1f %% of its time for images", share)


def _load(request: _Request, images: int) -> "Predictor":
    import torch

    from galaxymill.inference.engine import Engine
    from galaxymill.inference.predictor import Predictor

    torch.set_num_threads(request.threads)
    views = request.settings.view_count(request.card.settings)
    engine = Engine.choose(request.settings, images * views)
    predictor = Predictor.load(request.model, request.settings, engine)
    logger.info("predict: on %s", engine)
    return predictor
