"""Stage ``space``: fit a space, and its maps, to a sample of a survey's embeddings."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill.catalog.names import part_names
from galaxymill.conditions import Condition
from galaxymill.errors import UserError
from galaxymill.models.store import read_card
from galaxymill.products import POOLING
from galaxymill.progress import progress
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import SPACE_FILE, Space, fit_components, write_space
from galaxymill.splits import uniform
from galaxymill.storage.atomic import atomic_file, atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, Record, read_record
from galaxymill.storage.parquet import read_batches

_ROWS = 4096

logger = logging.getLogger("galaxymill")


def fit_space(
    parts: Path, embeddings: Path, predictions: Path, out: Path, settings: SpaceSettings
) -> None:
    """Fit a space to the galaxies that the hash of their ``object_id`` draws.

    Parameters
    ----------
    parts : Path
        A CSV table with the column ``part``, the partitions that are drawn from.
    embeddings, predictions : Path
        Folders of one prediction's products, which hold ``{part}.parquet``.
    out : Path
        ``space.yaml``; the weights lie beside it.

    Raises
    ------
    UserError
        When embeddings are of several models, none was kept, or a map's condition takes too few.
    """
    names = [f"{part}.parquet" for part in part_names(parts)]
    records = [read_record(embeddings / name, "predict") for name in names]
    if not records:
        raise UserError(f"{parts}: no partitions; there is nothing to fit a space to")
    embedding = _one_kind(embeddings, names, records)
    inputs = {"embeddings": sha256_json([record.digest for record in records])}
    if any(one.where for one in settings.maps.values()):
        found = [read_record(predictions / name, "predict").digest for name in names]
        inputs["predictions"] = sha256_json(found)
    domain = records[0].origin["domain"]
    origin = Origin("space", settings.product_settings(), inputs, domain)
    with exclusive(out), atomic_tree(out.parent, SPACE_FILE) as folder:
        wanted = max(settings.sample, settings.map_sample)
        # With room for chance, and for galaxies without an image or of no map.
        share = min(1.0, 1.3 * wanted / max(sum(r.rows for r in records), 1) + 0.001)
        reader = _Reader(embeddings, predictions, settings)
        sample = reader.read(names, share)
        space = _fit(sample, embedding, settings)
        # By these names the products are found that belong to a space.
        space.facts.update(prediction=predictions.name, survey=domain.get("survey", ""))
        write_space(folder, space, origin.to_dict())


def describe_embeddings(out: Path, model: Path, settings: str, versions: str) -> None:
    """Write down as JSON what embeddings depend on: when that changes, spaces are fitted anew.

    A space takes the list of embeddings as it was, so that new galaxies move no old one. Snakemake
    then looks at nothing else of a space while a prediction is made again.
    """
    plain = {"model": read_card(model).digest, "settings": settings, "versions": versions}
    with exclusive(out), atomic_file(out) as temporary:
        temporary.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def embedding_kind(origin: dict[str, Any]) -> dict[str, Any]:
    """What embeddings a product holds: the model's digest, which member, how views are pooled."""
    pooling = {key: origin["parameters"].get(key, usual) for key, usual in POOLING.items()}
    return {"model": origin["inputs"]["model"], **pooling}


def _one_kind(folder: Path, names: Sequence[str], records: Sequence[Record]) -> dict[str, Any]:
    first = embedding_kind(records[0].origin)
    for name, record in zip(names, records, strict=True):
        other = embedding_kind(record.origin)
        if other != first:
            raise UserError(
                f"{folder / name}: embeddings of {other}, but {folder / names[0]} of {first}; "
                "predict all partitions with one model"
            )
    return first


class _Reader:
    """Reads the galaxies of the lowest draws, and which of them each map is of."""

    def __init__(self, embeddings: Path, predictions: Path, settings: SpaceSettings) -> None:
        self._embeddings, self._predictions = embeddings, predictions
        self._maps, self._conditions = settings.maps, dict[str, Condition]()

    def read(self, names: Sequence[str], limit: float) -> pa.Table:
        """Read the galaxies with an embedding whose draw is below ``limit``, in that order.

        Columns: draw, embedding, and a truth value by the name of each map.
        """
        tables: list[pa.Table] = []
        with progress("sample of embeddings", len(names)) as advance:
            for name in names:
                tables += self._read(name, limit)
                advance(1)
        if not sum(table.num_rows for table in tables):
            raise UserError(
                f"{self._embeddings}: no galaxy has an embedding; keep them (predictions: keep), "
                "and see that images are fit"
            )
        return pa.concat_tables(tables).sort_by("draw")

    def _read(self, name: str, limit: float) -> Iterator[pa.Table]:
        met = self._met(name)
        start = 0
        for batch in read_batches(self._embeddings / name, ["object_id", "embedding"], _ROWS):
            # A hash of the name: who is in the sample does not depend on whom else there is.
            draws = np.array([uniform(f"space:{one}") for one in batch["object_id"].to_pylist()])
            there = batch["embedding"].is_valid().to_numpy(zero_copy_only=False)
            rows = np.flatnonzero((draws < limit) & there)
            columns = {"draw": draws[rows], "embedding": batch["embedding"].take(rows)}
            columns |= {key: mask[start + rows] for key, mask in met.items()}
            start += batch.num_rows
            yield pa.table(columns)

    def _met(self, name: str) -> dict[str, npt.NDArray[np.bool_]]:
        """Which galaxies of a partition meet the condition of each map."""
        path = self._predictions / name
        met = {}
        for key, one in self._maps.items():
            if key not in self._conditions:
                schema = pq.read_schema(path) if one.where else pa.schema([])
                self._conditions[key] = Condition(one.where, schema, f"maps.{key}.where")
            condition = self._conditions[key]
            columns = [*condition.columns, "object_id"] if one.where else ["object_id"]
            source = path if one.where else self._embeddings / name
            rows = pa.concat_tables(read_batches(source, columns))
            met[key] = condition.mask(rows)
        return met


def _fit(sample: pa.Table, embedding: dict[str, Any], settings: SpaceSettings) -> Space:
    """Fit components to the sample, and each map to its share of it."""
    vectors = _matrix(sample.slice(0, settings.sample))
    try:
        mean, components, deviations, share = fit_components(vectors, settings.components)
    except ValueError as error:
        raise UserError(f"space: {error}; see that the model and its images are sound") from error
    facts: dict[str, Any] = {"galaxies": len(vectors), "share_of_variance": round(share, 4)}
    logger.info(
        "space: %d components of %d galaxies hold %.1f %% of the variance",
        len(components),
        len(vectors),
        100 * share,
    )
    space = Space(embedding, settings, mean, components, deviations, {}, facts)
    for name, one in settings.maps.items():
        rows = sample.filter(sample[name]).slice(0, settings.map_sample)
        if not rows.num_rows:
            raise UserError(f"maps.{name}.where: no galaxy meets {one.where!r}")
        features, good = space.features(_matrix(rows))
        space.maps[name] = _fit_map(name, features[good].astype(np.float32), settings)
        facts[f"map_{name}_galaxies"] = int(good.sum())
    return space


def _fit_map(name: str, features: npt.NDArray[np.float32], settings: SpaceSettings) -> Any:
    from galaxymill.models.devices import choose_device
    from galaxymill.spaces.umap import fit_map, steps_of

    device = str(choose_device(settings.device))
    steps = steps_of(settings.steps, len(features))
    with progress(f"map {name}", steps) as advance:
        return fit_map(
            features, settings.neighbours, settings.steps, settings.seed, device, advance
        )


def _matrix(rows: pa.Table) -> npt.NDArray[np.float16]:
    lists = rows["embedding"].combine_chunks()
    flat: npt.NDArray[np.float16] = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(lists), -1)
