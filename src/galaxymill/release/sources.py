"""What a release is made of: the files of every partition, and proof that they belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from galaxymill import flags
from galaxymill.catalog.partition import Partition, read_partitions
from galaxymill.errors import UserError
from galaxymill.images.recipes import differences
from galaxymill.inference.settings import PredictSettings
from galaxymill.storage.digest import TableDigest
from galaxymill.storage.origin import Record, read_record
from galaxymill.tasks import VoteTask
from galaxymill.tasks.task import Task, parse_task
from galaxymill.trees.tree import Tree

ROLES = ("tile", "cutouts", "images", "predictions")
MAKERS = {"tile": "partition", "cutouts": "fetch", "images": "render", "predictions": "predict"}
MADE_FROM = {"cutouts": "tile", "images": "cutouts", "predictions": "images"}


@dataclass(frozen=True)
class Part:
    """One partition's files and what their footers say, by role (one of ``ROLES``)."""

    partition: Partition
    files: Mapping[str, Path]
    records: Mapping[str, Record]

    @property
    def unfit(self) -> int:
        """Flags of images that were not predicted."""
        settings = PredictSettings.model_validate(self.records["predictions"].origin["parameters"])
        return flags.unfit_bits(settings.unfit)


@dataclass(frozen=True)
class Model:
    """What a release needs to know of ``model.yaml``.

    Attributes
    ----------
    path : Path
        The file.
    task : Task
        What it predicts: votes.
    digest : str
        Content digest of the model.
    origin : dict
        What it was trained on, see `galaxymill.storage.origin.Origin.to_dict`.
    card : dict
        The whole file.
    """

    path: Path
    task: Task
    digest: str
    origin: dict[str, Any]
    card: dict[str, Any]

    @property
    def tree(self) -> Tree:
        """The questions it answers."""
        assert isinstance(self.task, VoteTask)
        return self.task.tree

    @property
    def domain(self) -> dict[str, Any]:
        """Survey and recipe of the images it learned from."""
        return dict(self.origin.get("domain") or {})


def prove(table: pa.Table, path: Path, record: Record, maker: str, digest: TableDigest) -> None:
    """Refuse rows that are not those that were written.

    Parameters
    ----------
    table : pyarrow.Table
        All rows of the file at ``path``.
    path : Path
    record : Record
        What the file's footer says.
    maker : str
        The stage that makes it.
    digest : TableDigest
        Of tables with this schema; it is restarted.

    Raises
    ------
    UserError
        With both digests.
    """
    digest.restart()
    digest.update(table)
    require_digest(digest, path, record, maker)


def require_digest(digest: TableDigest, path: Path, record: Record, maker: str) -> None:
    """Refuse a file whose rows have another digest than its footer says.

    Raises
    ------
    UserError
        With both digests.
    """
    found = digest.hexdigest()
    if found != record.digest:
        raise UserError(
            f"{path}: its rows have changed since it was made: their digest is {found}, recorded "
            f"is {record.digest}; remove the file and run {maker} again"
        )


def read_model(path: Path) -> Model:
    """Read ``model.yaml``.

    Raises
    ------
    UserError
        When it cannot be read, lacks its task, digest or origin, or predicts no votes.
    """
    try:
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
        plain, digest, origin = card["task"], card["digest"], card["origin"]
        task = parse_task(plain, f"{path}: task")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); train it first") from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a model's card: {error!r}") from error
    if task.kind != "votes":
        raise UserError(f"{path}: predicts a {task.kind}; releases are made of votes' fractions")
    return Model(path, task, str(digest), dict(origin), card)


def read_parts(partitions: Path, folders: Mapping[str, Path], model: Model) -> list[Part]:
    """Find every partition's files and check, by their footers, that they belong together.

    Parameters
    ----------
    partitions : Path
        ``partitions.csv``.
    folders : mapping of str to Path
        Folder of each of ``ROLES``.
    model : Model
        Who must have predicted.

    Returns
    -------
    list of Part
        In the catalogue's order.

    Raises
    ------
    UserError
        When a file is absent or stale, when the tiles do not have the rows that
        ``partitions.csv`` says, or when models or the images' domains are mixed.
    """
    parts = [_part(partition, folders) for partition in read_partitions(partitions)]
    if not parts:
        raise UserError(f"{partitions}: no partitions; there is nothing to release")
    for part in parts:
        if part.records["tile"].rows != part.partition.n_rows:
            raise UserError(
                f"{part.files['tile']}: {part.records['tile'].rows} rows, but {partitions} says "
                f"{part.partition.n_rows}; run partition again"
            )
        _check_chain(part)
    _check_domain(parts)
    _check_model(parts, model)
    return parts


def _part(partition: Partition, folders: Mapping[str, Path]) -> Part:
    files = {role: folders[role] / f"{partition.part}.parquet" for role in ROLES}
    return Part(partition, files, {role: read_record(path) for role, path in files.items()})


def _check_chain(part: Part) -> None:
    """Refuse a file that was made from other rows than those that are there now."""
    for role, source in MADE_FROM.items():
        recorded = part.records[role].origin["inputs"].get(source)
        present = part.records[source].digest
        if recorded != present:
            raise UserError(
                f"{part.files[role]}: stale: made from {source} {recorded}, but "
                f"{part.files[source]} is now {present}; run {MAKERS[role]} again"
            )


def _check_domain(parts: Sequence[Part]) -> None:
    """Refuse to mix images of several surveys or recipes."""
    first = parts[0].files["images"], parts[0].records["images"].origin["domain"]
    for part in parts:
        for role in ("images", "predictions"):
            domain = part.records[role].origin["domain"]
            if domain != first[1]:
                told = differences(domain, first[1], "{}: {!r} and {!r}")
                raise UserError(
                    f"{part.files[role]} and {first[0]} are of different images: {told}; run "
                    f"{MAKERS[role]} again with one recipe"
                )


def _check_model(parts: Sequence[Part], model: Model) -> None:
    """Refuse predictions of several models, or of another than the one that is named."""
    digests = {part.files["predictions"]: _model_digest(part) for part in parts}
    first = parts[0].files["predictions"]
    for path, digest in digests.items():
        if digest != digests[first]:
            raise UserError(
                f"{path} and {first} were predicted by different models: {digest} and "
                f"{digests[first]}; run predict again with one model"
            )
    if digests[first] != model.digest:
        raise UserError(
            f"{first} was predicted by model {digests[first]}, but {model.path} is "
            f"{model.digest}; run predict again, or name the model that predicted"
        )


def _model_digest(part: Part) -> str:
    return str(part.records["predictions"].origin["inputs"].get("model"))
