"""Format ``panoptes``: a Zooniverse classification export, counted by a reducer of our own.

The field's library, panoptes_aggregation, cannot be installed beside our packages (its 5.3.1 wants
numpy < 2.3, pandas < 3 and scikit-learn < 1.7), holds a whole export in memory, and knows nothing
of trees, of retirement or of exports that overlap. The numbers are those of its question extractor
and question reducer on each volunteer's first classification of a subject.

An export is read block by block. A classification counts when its workflow and version are among
those of the file of tasks, when it is not flagged as already seen, and when it is the first of its
volunteer on its galaxy, in the order of the files and of their rows. A volunteer is the
``user_id``, else the ``user_name`` (``not-logged-in-`` and a hash of the address), else the
``user_ip``; somebody without any of these is always a new one. A question is answered once in a
classification; where several answers may be chosen, each is a vote. A galaxy counts when a subject
of it is retired by the latest that any of the files says.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.tables import check_ids, column_names
from galaxymill.votes.checks import Dropped
from galaxymill.votes.panoptes_tasks import (
    MAX_LABEL_LENGTH,
    Version,
    Workflow,
    load_tasks,
    normalised,
    parse_version,
)
from galaxymill.votes.rows import FormatSettings, Rows
from galaxymill.votes.tree import Tree

logger = logging.getLogger("galaxymill")

MAX_FIELD_CHARACTERS = 1_000_000
BLOCK_BYTES = 8_000_000
MAX_DEPTH = 8
SUBJECT_ID = "subject_id"

_NEEDED = (
    "classification_id",
    "user_name",
    "user_id",
    "workflow_id",
    "workflow_version",
    "metadata",
    "annotations",
    "subject_data",
    "subject_ids",
)
_OPTIONAL = ("user_ip",)
_HIDDEN = "#!/"


class PanoptesSettings(FormatSettings):
    """A Zooniverse classification export (CSV), and which of its tasks is which question."""

    operational: ClassVar[frozenset[str]] = frozenset({"tasks"})

    object_id: str = Field(
        SUBJECT_ID,
        description="key of the subjects' metadata that identifies the galaxy; subject_id is "
        "Zooniverse's own number",
    )
    ra: str = Field("ra", description="key of the right ascension, ICRS degrees, if there")
    dec: str = Field("dec", description="key of the declination, ICRS degrees, if there")
    tasks: Path = Field(description="YAML file: which task is which question, see docs/labels.md")
    retired: bool = Field(True, description="whether only galaxies count that are retired")
    already_seen: bool = Field(
        False, description="whether classifications count that Zooniverse flags as already seen"
    )

    def input_files(self) -> dict[str, Path]:
        """Give the file of tasks."""
        return {"tasks": self.tasks}


class _UnfitError(Exception):
    """A classification that does not count; says why."""


@dataclass
class _Subject:
    """One subject: the galaxy that it shows, and the votes by file."""

    object_id: str
    position: tuple[float, float]
    retired: bool
    votes: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)


def read_panoptes(paths: Sequence[Path], settings: PanoptesSettings, tree: Tree) -> list[Rows]:
    """Count the votes of classification exports.

    Parameters
    ----------
    paths : sequence of Path
        CSV files; they may overlap, as a later export holds the earlier one's classifications.
    settings : PanoptesSettings
    tree : Tree

    Returns
    -------
    list of Rows
        One for each file.

    Raises
    ------
    UserError
        When a file is no such export, or no classification counts.
    """
    reducer = _Reducer(settings, tree)
    for number, path in enumerate(paths):
        for row in _classifications(path):
            reducer.add(number, row)
    reducer.report()
    files = [reducer.rows(number, path) for number, path in enumerate(paths)]
    if not any(rows.object_ids for rows in files):
        raise UserError(
            f"{', '.join(map(str, paths))}: no classification counts: "
            f"{reducer.told() or 'no galaxy is retired; or set retired: false'}"
        )
    return files


def _classifications(path: Path) -> Iterator[Mapping[str, str]]:
    """Read an export block by block; a row longer than a block is refused."""
    from pyarrow import csv

    there = column_names(path)
    absent = [name for name in _NEEDED if name not in there]
    if absent:
        raise UserError(
            f"{path}: no column {', '.join(absent)}; is it the classification export of a "
            "Zooniverse project?"
        )
    names = [*_NEEDED, *(name for name in _OPTIONAL if name in there)]
    options = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=names
    )
    try:
        with csv.open_csv(
            path,
            read_options=csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        ) as reader:
            for batch in reader:
                columns = [column.to_pylist() for column in batch.columns]
                for values in zip(*columns, strict=True):
                    yield dict(zip(names, values, strict=True))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


class _Reducer:
    """Votes so far, and who has voted on what."""

    def __init__(self, settings: PanoptesSettings, tree: Tree) -> None:
        self._settings = settings
        self._tree = tree
        self._workflows = load_tasks(settings.tasks, tree)
        self._subjects: dict[str, _Subject] = {}
        self._seen: set[bytes] = set()
        self._left_out: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._counted = 0

    def add(self, number: int, row: Mapping[str, str]) -> None:
        """Count one classification of file ``number``."""
        try:
            workflow = self._workflow(row)
            subject = self._subject(row)
            if not self._settings.already_seen and _already_seen(row["metadata"]):
                raise _UnfitError("flagged as already seen")
            columns = self._answers(row["annotations"], workflow)
            self._once(subject.object_id, row)
        except _UnfitError as reason:
            self._left_out[str(reason)] += 1
            return
        votes = subject.votes.get(number)
        if votes is None:
            votes = subject.votes[number] = np.zeros(len(self._tree.columns), dtype=np.int64)
        votes[columns] += 1
        self._counted += 1

    def rows(self, number: int, path: Path) -> Rows:
        """Give the votes of one file, on the galaxies that count."""
        retired = {s.object_id for s in self._subjects.values() if s.retired}
        votes: dict[str, npt.NDArray[np.float64]] = {}
        places: dict[str, tuple[float, float]] = {}
        lost: Counter[str] = Counter()
        for subject in self._subjects.values():
            if number not in subject.votes:
                continue
            key, cast = subject.object_id, subject.votes[number].astype(np.float64)
            if self._settings.retired and key not in retired:
                lost[key] += int(cast.sum())
                continue
            votes[key] = votes[key] + cast if key in votes else cast
            places.setdefault(key, subject.position)
        ids = pa.chunked_array([pa.array(list(votes), pa.string())])
        check_ids(path, ids, self._settings.object_id)
        values = np.array(list(votes.values())).reshape(len(votes), len(self._tree.columns))
        positions = np.array(list(places.values())).reshape(len(votes), 2)
        known = not np.isnan(positions).all()
        dropped = tuple(
            Dropped(key, "", float(n), None, None, "not retired") for key, n in lost.items()
        )
        return Rows(str(path), list(votes), values, positions if known else None, dropped)

    def told(self) -> str:
        """Say how many classifications are left out, by reason."""
        return ", ".join(f"{n} {reason}" for reason, n in sorted(self._left_out.items()))

    def report(self) -> None:
        """Log what counts and what does not."""
        logger.info("labels: %d classifications count; left out: %s", self._counted, self.told())
        if self._unknown:
            common = ", ".join(f"{label} ({n})" for label, n in self._unknown.most_common(5))
            logger.warning("labels: answers that the file of tasks does not have: %s", common)

    def _workflow(self, row: Mapping[str, str]) -> Workflow:
        try:
            version: Version = parse_version(row["workflow_version"])
        except ValueError:
            raise _UnfitError("without a version") from None
        for workflow in self._workflows:
            if workflow.fits(row["workflow_id"], version):
                return workflow
        raise _UnfitError("of another workflow or version")

    def _subject(self, row: Mapping[str, str]) -> _Subject:
        key = row["subject_ids"].strip()
        known = self._subjects.get(key)
        if known is not None and known.retired:
            return known
        data = _parse(row["subject_data"], "without readable subject data")
        metadata = data.get(key) if isinstance(data, dict) else None
        if not isinstance(metadata, dict):
            raise _UnfitError("not of one subject")
        if known is not None:
            known.retired = bool(metadata.get("retired"))
            return known
        object_id = key
        if self._settings.object_id != SUBJECT_ID:
            object_id = _text(_entry(metadata, self._settings.object_id))
        if not object_id:
            raise _UnfitError(f"of a subject without {self._settings.object_id}")
        place = _position(metadata, self._settings)
        subject = _Subject(object_id, place, bool(metadata.get("retired")))
        self._subjects[key] = subject
        return subject

    def _answers(self, annotations: str, workflow: Workflow) -> list[int]:
        """Columns that a classification votes for; the first answer to a task counts."""
        columns: list[int] = []
        answered: set[str] = set()
        plain = _parse(annotations, "without readable annotations")
        for name, value in _annotations(plain, MAX_DEPTH):
            task = workflow.tasks.get(name)
            if task is None or name in answered or value is None:
                continue
            answered.add(name)
            for answer in value if isinstance(value, list) else [value]:
                column = task.get(_key(answer))
                if column is None:
                    self._note(name, answer)
                elif column not in columns:
                    columns.append(column)
        if not columns:
            raise _UnfitError("without an answer to a question")
        return columns

    def _note(self, name: str, answer: Any) -> None:
        if len(self._unknown) < 1000:
            self._unknown[f"{name}: {str(answer)[:60]!r}"] += 1

    def _once(self, object_id: str, row: Mapping[str, str]) -> None:
        # Somebody who left no trace is a new volunteer with every classification.
        traces = ("user_id", "user_name", "user_ip", "classification_id")
        trace = next((name for name in traces if row.get(name)), traces[-1])
        text = json.dumps([object_id, trace, row[trace]])
        # Eight bytes: with ten million classifications, three runs in a million lose a vote.
        key = hashlib.blake2b(text.encode(), digest_size=8).digest()
        if key in self._seen:
            raise _UnfitError("repeated by the same volunteer")
        self._seen.add(key)


def _parse(text: str, reason: str) -> Any:
    if len(text) > MAX_FIELD_CHARACTERS:
        raise _UnfitError(reason)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _UnfitError(reason) from None


def _already_seen(metadata: str) -> bool:
    """Tell what Zooniverse's selection of subjects noted; unreadable metadata note nothing."""
    if "seen" not in metadata:
        return False
    try:
        plain = _parse(metadata, "")
    except _UnfitError:
        return False
    if not isinstance(plain, dict):
        return False
    states = [plain.get(key) for key in ("subject_selection_state", "subjectSelectionState")]
    flags = [state.get("already_seen") for state in states if isinstance(state, dict)]
    return any(flag is True for flag in [*flags, plain.get("seen_before")])


def _annotations(plain: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Walk through annotations; a combined task holds those of its tasks."""
    if not isinstance(plain, list):
        return
    for annotation in plain:
        if not isinstance(annotation, dict) or "value" not in annotation:
            continue
        value = annotation["value"]
        nested = isinstance(value, list) and any(
            isinstance(item, dict) and "task" in item for item in value
        )
        if nested and depth > 0:
            yield from _annotations(value, depth - 1)
        elif not nested:
            yield str(annotation.get("task")), value


def _key(answer: Any) -> str | int:
    if isinstance(answer, str) and len(answer) <= MAX_LABEL_LENGTH:
        return normalised(answer)
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else ""


def _entry(metadata: Mapping[str, Any], name: str) -> Any:
    """Value of a key of the metadata, also where ``#``, ``!`` or ``//`` hides it."""
    for key, value in metadata.items():
        if key.lstrip(_HIDDEN).strip() == name.lstrip(_HIDDEN):
            return value
    return None


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) else ""


def _position(metadata: Mapping[str, Any], settings: PanoptesSettings) -> tuple[float, float]:
    """Position by the metadata; NaN when there is none on the sky."""
    try:
        ra, dec = (float(_entry(metadata, name)) for name in (settings.ra, settings.dec))
    except (TypeError, ValueError):
        return np.nan, np.nan
    on_sky = 0 <= ra <= 360 and -90 <= dec <= 90
    return (ra, dec) if on_sky else (np.nan, np.nan)
