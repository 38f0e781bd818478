"""Stage ``labels``: what volunteers and catalogues say of galaxies, checked, added up and split."""

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
from galaxymill.labels.overlap import check_overlap
from galaxymill.labels.rows import Floats, FormatSettings, Rows, add_up
from galaxymill.splits import SPLITS, SplitSettings, assign_splits
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_file
from galaxymill.storage.origin import Origin, is_made
from galaxymill.storage.parquet import write_product
from galaxymill.tables import require_file
from galaxymill.tasks import VoteTask
from galaxymill.tasks.checks import CheckSettings, Dropped, check_loss, reasons, write_dropped
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import load_tree

logger = logging.getLogger("galaxymill")


@dataclass(frozen=True)
class LabelSettings:
    """How a labelled set is read.

    Attributes
    ----------
    format : str
        A name of `galaxymill.labels.formats.FORMATS`.
    settings : FormatSettings
        Those of the format.
    """

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
        ``votes.parquet``, sorted by ``object_id``. Beside it, ``sources.parquet`` tells what each
        file says and ``dropped.csv`` which votes were left out.
    catalog : Path or None
        ``objects.parquet`` of the survey that the images are of: it changes no labels, but must
        know some of their galaxies.

    Raises
    ------
    UserError
        When a file is not of the format, is given twice or says nothing, when most of what they
        say cannot be used, or when it is of other galaxies than the catalogue.
    """
    inputs = _digests(sources, settings.settings)
    task, files = _read(sources, tree_path, settings)
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
            check_overlap(votes["object_id"], catalog, ", ".join(map(str, sources)))
        said = _sources(task, files)
        with atomic_tree(out.parent, out.name) as folder:
            write_dropped(folder / "dropped.csv", dropped)
            write_product(folder / "sources.parquet", said, origin, said.schema)
            write_product(folder / out.name, votes, origin, votes.schema)
    counts = {split: pc.sum(pc.equal(votes["split"], split)).as_py() for split in SPLITS}
    logger.info("labels: %d galaxies of %d files: %s", votes.num_rows, len(files), counts)
    task.tell(votes)
    for reason, count in reasons(dropped).items():
        logger.warning("labels: dropped.csv: %d times %s", count, reason)


def _digests(sources: Sequence[Path], settings: FormatSettings) -> dict[str, str]:
    """Digests of all inputs; a file whose votes would count twice is refused."""
    digests: dict[str, str] = {}
    known: dict[str, Path] = {}
    for number, path in enumerate(sources, start=1):
        require_file(path)
        digest = sha256_file(path)
        if digest in known:
            raise UserError(f"{path}: holds the same as {known[digest]}; give it once")
        known[digest] = path
        digests[f"votes_{number}"] = digest
    for name, path in settings.input_files().items():
        require_file(path)
        digests[name] = sha256_file(path)
    return digests


def _read(
    sources: Sequence[Path], tree_path: Path | None, settings: LabelSettings
) -> tuple[Task, list[Rows]]:
    entry = FORMATS[settings.format]
    if entry.labels is not None:
        return entry.labels(sources, settings.settings)
    if entry.votes is None or tree_path is None:
        raise UserError(f"--tree is required by format {settings.format}: which tree was asked?")
    tree = load_tree(tree_path)
    return VoteTask(tree), entry.votes(sources, settings.settings, tree)


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
    if rows.positions is not None:
        columns["ra"], columns["dec"] = (pa.array(x, from_pandas=True) for x in rows.positions.T)
    columns["split"] = pa.array(assign_splits(rows.object_ids, rows.positions, settings.splits))
    schema = products.votes(task, with_positions=rows.positions is not None)
    return pa.table(columns).select(schema.names).cast(schema), dropped


def _sources(task: Task, files: Sequence[Rows]) -> pa.Table:
    """What each file says, as given: one row per file and galaxy."""
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
