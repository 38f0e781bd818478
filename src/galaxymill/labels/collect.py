"""Stage ``labels``: labels of volunteers and catalogues, checked, added up and split."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxymill import products
from galaxymill.errors import UserError
from galaxymill.labels.formats import FORMATS
from galaxymill.labels.individual import IndividualAnswers
from galaxymill.labels.rows import Floats, FormatSettings, Rows, add_up
from galaxymill.splits import SPLITS, SplitSettings, assign_splits
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_file
from galaxymill.storage.origin import Origin, is_made, read_record
from galaxymill.storage.parquet import open_parquet, open_product, write_product
from galaxymill.tables import require_file
from galaxymill.tasks import VoteTask
from galaxymill.tasks.checks import CheckSettings, Dropped, check_loss, reasons, write_dropped
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import load_tree

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class LabelSettings:
    """How a labelled set is read: the name of a format, its settings, splits and checks."""

    format: str
    settings: FormatSettings
    splits: SplitSettings = field(default_factory=SplitSettings)
    checks: CheckSettings = field(default_factory=CheckSettings)


def collect_labels(
    sources: Sequence[Path],
    tree_path: Path | None,
    out: Path,
    settings: LabelSettings,
    catalog: Path | None = None,
) -> None:
    """Check and add up files of labels, and give each galaxy its split.

    Parameters
    ----------
    sources : sequence of Path
        Files of one format; a galaxy in several has its votes added up.
    tree_path : Path or None
        The decision tree that was asked; None for classes and numbers.
    out : Path
        ``votes.parquet``, sorted by ``object_id``. Beside it, ``sources.parquet`` holds the labels
        of each file, ``dropped.csv`` the votes that were left out, and ``answers.parquet``, where
        the files say who gave which answer, each of those on a galaxy that counts.
    catalog : Path or None
        ``objects.parquet`` of the survey that the images are of: it changes no labels, but must
        have some of their galaxies.

    Raises
    ------
    UserError
        When a file is not of the format, is given twice or holds no label, when most of the labels
        cannot be used, or when they are of other galaxies than the catalogue.
    """
    inputs = _digests(sources, settings.settings)
    individual = IndividualAnswers(out) if FORMATS[settings.format].individuals else None
    task, files = _read(sources, tree_path, settings, individual)
    parameters = {
        "format": settings.format,
        "settings": settings.settings.product_settings(),
        "splits": settings.splits.product_settings(),
        "checks": settings.checks.product_settings(),
        "task": task.to_dict(),
    }
    origin = Origin("labels", parameters, inputs)
    with exclusive(out) as waited:
        if waited and is_made(out, origin):
            return
        votes, dropped = _combine(sources, task, files, settings)
        if catalog is not None:
            _check_overlap(votes["object_id"], catalog, ", ".join(map(str, sources)))
        labels = _sources(task, files)
        with atomic_tree(out.parent, out.name) as folder:
            write_dropped(folder / "dropped.csv", dropped)
            write_product(folder / "sources.parquet", labels, origin, labels.schema)
            if individual is not None:
                with open_product(folder / "answers.parquet", products.ANSWERS, origin) as writer:
                    for table in individual.tables(votes["object_id"].to_pylist()):
                        writer.write(table)
            write_product(folder / out.name, votes, origin, votes.schema)
    counts = {split: pc.sum(pc.equal(votes["split"], split)).as_py() for split in SPLITS}
    logger.info("labels: %d galaxies of %d files: %s", votes.num_rows, len(files), counts)
    task.log_labels(votes)
    for reason, count in reasons(dropped).items():
        logger.warning("labels: dropped.csv: %d times %s", count, reason)


def _digests(sources: Sequence[Path], settings: FormatSettings) -> dict[str, str]:
    """Digests of all inputs; a file whose votes would count twice is refused."""
    digests: dict[str, str] = {}
    files: dict[str, Path] = {}
    for number, path in enumerate(sources, start=1):
        require_file(path)
        digest = sha256_file(path)
        if digest in files:
            raise UserError(f"{path}: holds the same as {files[digest]}; give it once")
        files[digest] = path
        digests[f"votes_{number}"] = digest
    for name, path in settings.input_files().items():
        require_file(path)
        digests[name] = sha256_file(path)
    return digests


def _read(
    sources: Sequence[Path],
    tree_path: Path | None,
    settings: LabelSettings,
    individual: IndividualAnswers | None,
) -> tuple[Task, list[Rows]]:
    entry = FORMATS[settings.format]
    more = () if individual is None else (individual,)
    if entry.labels is not None:
        return entry.labels(sources, settings.settings, *more)
    if entry.votes is None or tree_path is None:
        raise UserError(f"--tree is required by format {settings.format}: which tree was asked?")
    tree = load_tree(tree_path)
    return VoteTask(tree), entry.votes(sources, settings.settings, tree, *more)


def _combine(
    sources: Sequence[Path], task: Task, files: Sequence[Rows], settings: LabelSettings
) -> tuple[pa.Table, list[Dropped]]:
    place = ", ".join(map(str, sources))
    rows = add_up(task, files)
    values, excess = task.check(rows.object_ids, rows.values, settings.checks)
    dropped = [*rows.dropped, *excess]
    kept, counted = (values.sum(), "votes") if task.adds_up else (len(values), "galaxies")
    check_loss(dropped, float(kept), settings.checks, place, counted)
    if not rows.object_ids:
        raise UserError(f"{place}: there are no {counted}")
    columns = {"object_id": pa.array(rows.object_ids, pa.string()), **_values(task, values)}
    ra, dec = rows.positions.T
    columns |= {"ra": pa.array(ra, from_pandas=True), "dec": pa.array(dec, from_pandas=True)}
    columns["split"] = pa.array(assign_splits(rows.object_ids, rows.positions, settings.splits))
    schema = products.votes(task, with_positions=bool(np.isfinite(rows.positions).any()))
    return pa.table(columns).select(schema.names).cast(schema), dropped


def _check_overlap(ids: pa.ChunkedArray, catalog: Path, place: str) -> None:
    """Refuse labels that share no galaxy with a catalogue; warn when fewer than half are in it."""
    read_record(catalog, "ingest")
    with open_parquet(catalog, ["object_id"]) as file:
        listed = file.read(["object_id"])["object_id"]
    outside = ids.filter(pc.invert(pc.is_in(ids, value_set=listed)))
    shared = len(ids) - len(outside)
    if shared == 0:
        raise UserError(
            f"{place}: none of {len(ids)} galaxies is in the catalogue {catalog}: "
            f"{_examples(ids)} in the labels, {_examples(listed)} in the catalogue; let object_id "
            "name columns of the same identifiers in both"
        )
    if 2 * shared < len(ids):
        logger.warning(
            "labels: %d of %d galaxies are in the catalogue %s; nothing is learned from the others:"
            " %s",
            *(shared, len(ids), catalog, _examples(outside)),
        )


def _examples(ids: pa.ChunkedArray) -> str:
    return ", ".join([*map(repr, ids[:3].to_pylist()), *(["…"] if len(ids) > 3 else [])])


def _sources(task: Task, files: Sequence[Rows]) -> pa.Table:
    """Labels as each file has them: one row per file and galaxy."""
    schema = products.label_sources(task)
    tables = []
    for rows in files:
        order = np.argsort(np.array(rows.object_ids, dtype=np.str_), kind="stable")
        columns = {
            "object_id": pa.array(rows.object_ids, pa.string()).take(pa.array(order)),
            "file": pa.array([rows.file] * len(rows.object_ids), pa.string()),
            **_values(task, rows.values[order]),
        }
        tables.append(pa.table(columns).cast(schema))
    return pa.concat_tables(tables)


def _values(task: Task, values: Floats) -> dict[str, pa.Array]:
    return {
        field.name: pa.array(values[:, index]).cast(field.type)
        for index, field in enumerate(task.label_fields())
    }
