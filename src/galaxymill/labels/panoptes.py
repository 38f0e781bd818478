"""Format ``panoptes``: a Zooniverse classification export, counted by a reducer of our own.

The field's library, panoptes_aggregation, cannot be installed beside our packages (its 5.3.1 wants
numpy < 2.3, pandas < 3 and scikit-learn < 1.7), holds a whole export in memory, and knows nothing
of trees, of retirement or of exports that overlap. The numbers are those of its question extractor
and question reducer on each volunteer's first classification of a subject.

An export is read block by block. A classification counts when its workflow and version are among
those of the file of tasks, when it is not flagged as already seen, when its ``classification_id``
is given for the first time, and when it is the first of its volunteer on its galaxy, in the order
of the files and of their rows. A volunteer is the ``user_id``, else the ``user_name``
(``not-logged-in-`` and a hash of the address), else the ``user_ip``; somebody without any of these
is always a new one. Numbers are compared as `galaxymill.labels.rows.whole_number` spells them. A
question is answered once in a classification; where several answers may be chosen, each is a vote.
A galaxy counts when a subject of it is retired by the latest that any of the files says.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.labels import panoptes_cells as cells
from galaxymill.labels.individual import IndividualAnswers, SeenKeys
from galaxymill.labels.panoptes_cells import UnfitError
from galaxymill.labels.panoptes_tasks import Task, Workflow, load_tasks, parse_version
from galaxymill.labels.rows import FormatSettings, Rows, whole_number, without_blanks
from galaxymill.tables import check_ids, column_names, read_blocks
from galaxymill.tasks.checks import NOT_RETIRED, Dropped
from galaxymill.trees.tree import Tree

logger = logging.getLogger("galaxymill")

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
_OPTIONAL = ("user_ip", "created_at")
_NUMBERS = ("classification_id", "user_id", "workflow_id")

ELSEWHERE = "of another workflow or version"
SEEN = "flagged as already seen"
TWICE = "given twice"
UNANSWERED = "without an answer to a question"
REPEATED = "repeated by the same volunteer"
_INTENDED = (ELSEWHERE, SEEN, TWICE, REPEATED, UNANSWERED)
"""Why classifications are left out though nothing is wrong with them."""


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
    tasks: Path = Field(
        description="YAML file: which task is which question, see the page on labels"
    )
    retired: bool = Field(True, description="whether only galaxies count that are retired")
    already_seen: bool = Field(
        False, description="whether classifications count that Zooniverse flags as already seen"
    )

    def input_files(self) -> dict[str, Path]:
        """Give the file of tasks."""
        return {"tasks": self.tasks}


@dataclass
class _Subject:
    """One subject: the galaxy that it shows, and the votes by file."""

    object_id: str
    position: tuple[float, float]
    retired: bool
    votes: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)


def read_panoptes(
    paths: Sequence[Path], settings: PanoptesSettings, tree: Tree, individual: IndividualAnswers
) -> list[Rows]:
    """Count the votes of classification exports (CSV), and keep each ``individual`` answer.

    They may overlap, as a later export holds the earlier one's classifications. A UserError says
    when a file is no such export, or no classification counts.
    """
    reducer = _Reducer(settings, tree, individual)
    for number, path in enumerate(paths):
        for row in _classifications(path):
            reducer.add(number, row)
    reducer.report(paths)
    files = [reducer.rows(number, path) for number, path in enumerate(paths)]
    if not any(rows.object_ids for rows in files):
        raise UserError(
            f"{', '.join(map(str, paths))}: no classification counts: {reducer.reason()}"
        )
    return files


def _classifications(path: Path) -> Iterator[Mapping[str, str]]:
    """Read an export block by block; a row longer than a block is refused."""
    there = column_names(path)
    absent = [name for name in _NEEDED if name not in there]
    if absent:
        raise UserError(
            f"{path}: no column {', '.join(absent)}; is it the classification export of a "
            f"Zooniverse project? Its columns are: {', '.join(there[:20])[:1000]}"
        )
    names = [*_NEEDED, *(name for name in _OPTIONAL if name in there)]
    for batch in read_blocks(path, names):
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            texts = ("" if value is None else str(value) for value in values)
            yield dict(zip(names, texts, strict=True))


class _Reducer:
    """Votes so far, and who has voted on what."""

    def __init__(
        self, settings: PanoptesSettings, tree: Tree, individual: IndividualAnswers
    ) -> None:
        self._settings = settings
        self._tree = tree
        self._individual = individual
        self._names_of = [(q.name, answer) for q in tree.questions for answer in q.answers]
        self._workflows = load_tasks(settings.tasks, tree)
        self._subjects: dict[str, _Subject] = {}
        self._seen = SeenKeys()
        self._volunteers: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._left_out: dict[int, Counter[str]] = defaultdict(Counter)
        self._unknown: dict[str, Counter[str]] = defaultdict(Counter)
        self._rewritten: dict[int, str] = {}
        self._rows: Counter[int] = Counter()
        self._counted = 0

    def add(self, number: int, row: Mapping[str, str]) -> None:
        """Count one classification of file ``number``."""
        self._rows[number] += 1
        plain = {**row, **{name: whole_number(row[name]) for name in _NUMBERS}}
        if number not in self._rewritten and plain != row:
            name = next(name for name in _NUMBERS if plain[name] != row[name])
            # No name may stand in a log, were it in the wrong column.
            shown = "…" if any(map(str.isalpha, row[name])) else row[name][:40]
            self._rewritten[number] = f"{name} is {shown!r}"
        try:
            workflow = self._workflow(plain)
            subject = self._subject(plain)
            if not self._settings.already_seen and cells.already_seen(row["metadata"]):
                raise UnfitError(SEEN)
            columns = self._answers(row["annotations"], workflow)
            volunteer = self._once(subject.object_id, plain)
        except UnfitError as reason:
            self._left_out[number][str(reason)] += 1
            return
        if number not in subject.votes:
            subject.votes[number] = np.zeros(len(self._tree.columns), dtype=np.int64)
        subject.votes[number][columns] += 1
        given = [self._names_of[column] for column in columns]
        self._individual.add(subject.object_id, volunteer, given, row.get("created_at", ""))
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
        dropped = [Dropped(key, "", float(n), None, None, NOT_RETIRED) for key, n in lost.items()]
        dropped += [
            Dropped("", "", float(n), None, None, f"classification {reason}")
            for reason, n in self._left_out[number].items()
            if reason not in _INTENDED
        ]
        return Rows(str(path), list(votes), values, positions, tuple(dropped))

    def reason(self) -> str:
        """Say why nothing counts, and what there is instead."""
        if not self._rows.total():
            return "there is none, only the header; request the export anew"
        if self._counted:
            return (
                f"no galaxy is retired; set retired: false to count {self._counted} of galaxies "
                "that are not"
            )
        return "; ".join([self._left_out_by_reason(), *self._others()])

    def report(self, paths: Sequence[Path]) -> None:
        """Log what counts and what does not."""
        left_out = self._left_out_by_reason()
        logger.info("labels: %d classifications count; left out: %s", self._counted, left_out)
        for others in self._others():
            logger.warning("labels: %s", others)
        for number, path in enumerate(paths):
            if not self._rows[number]:
                logger.warning("labels: %s: there is no classification, only the header", path)
            if number in self._rewritten:
                logger.warning(
                    "labels: %s: another program has saved this export (%s): versions such as "
                    "16.10 may have become 16.1; give the file as Zooniverse made it",
                    path,
                    self._rewritten[number],
                )

    def _left_out_by_reason(self) -> str:
        total = sum(self._left_out.values(), Counter[str]())
        return ", ".join(f"{n} {reason}" for reason, n in sorted(total.items()))

    def _others(self) -> Iterator[str]:
        """List what the file of tasks does not have, the commonest first."""
        for kind, texts in self._unknown.items():
            yield f"{kind}: {', '.join(f'{text} ({n})' for text, n in texts.most_common(10))}"

    def _note(self, kind: str, text: str) -> None:
        counts, text = self._unknown[kind], text[:200]
        if text in counts or len(counts) < 1000:
            counts[text] += 1

    def _workflow(self, row: Mapping[str, str]) -> Workflow:
        try:
            version = parse_version(row["workflow_version"])
        except ValueError:
            raise UnfitError("without a version") from None
        for workflow in self._workflows:
            if workflow.fits(row["workflow_id"], version):
                return workflow
        self._note(
            "workflows and versions that the file of tasks does not have",
            f"{row['workflow_id']} version {row['workflow_version']}",
        )
        raise UnfitError(ELSEWHERE)

    def _subject(self, row: Mapping[str, str]) -> _Subject:
        key = whole_number(row["subject_ids"])
        before = self._subjects.get(key)
        if before is not None and before.retired:
            return before
        data = cells.parse(row["subject_data"], "without readable subject data")
        if not key and isinstance(data, dict) and len(data) == 1:
            # A spreadsheet has rounded the column; there is one subject all the same.
            (key,) = data
            before = self._subjects.get(key)
        metadata = data.get(key) if isinstance(data, dict) else None
        if not isinstance(metadata, dict):
            raise UnfitError("not of one subject")
        if before is not None:
            before.retired = bool(metadata.get("retired"))
            return before
        object_id = key
        if self._settings.object_id != SUBJECT_ID:
            object_id = cells.text(cells.entry(metadata, self._settings.object_id))
        if not object_id:
            for name in list(metadata)[:40]:
                self._note("keys of their metadata", name)
            raise UnfitError(f"of a subject without {self._settings.object_id}")
        place = cells.position(metadata, (self._settings.ra, self._settings.dec))
        subject = _Subject(object_id, place, bool(metadata.get("retired")))
        self._subjects[key] = subject
        return subject

    def _answers(self, annotations: str, workflow: Workflow) -> list[int]:
        """Columns that a classification votes for; the first answer to a task counts."""
        columns: list[int] = []
        answered: set[str] = set()
        others: list[str] = []
        has_unknown = False
        plain = cells.parse(annotations, "without readable annotations")
        for name, value in cells.annotations(plain, MAX_DEPTH):
            task = workflow.tasks.get(name)
            if task is None:
                others.append(name)
            if task is None or name in answered or value is None:
                continue
            answered.add(name)
            for answer in value if isinstance(value, list) else [value]:
                column = task.get(cells.key(answer))
                if column is None:
                    has_unknown = True
                    text = f"{name}: {str(answer)[:60]!r}{_hint(answer, task)}"
                    self._note("answers that the file of tasks does not have", text)
                elif column not in columns:
                    columns.append(column)
        if columns:
            return columns
        if has_unknown:
            raise UnfitError("without an answer that the file of tasks has")
        for name in others:
            self._note("tasks that the file of tasks does not have", name)
        raise UnfitError(UNANSWERED)

    def _once(self, object_id: str, row: Mapping[str, str]) -> str:
        """Tell who classified; a second time on a galaxy does not count."""
        number = row["classification_id"]
        if number and not self._seen.add("", number):
            raise UnfitError(TWICE)
        # Somebody who left no trace is a new volunteer with every classification.
        volunteer = self._volunteer(row) or f"row {self._rows.total()}"
        if not self._seen.add(object_id, volunteer):
            raise UnfitError(REPEATED)
        return volunteer

    def _volunteer(self, row: Mapping[str, str]) -> str:
        """Who classified: one and the same also where a spreadsheet has lost the user_id."""
        number, name = row["user_id"], without_blanks(row["user_name"])
        if not number:
            address = without_blanks(row.get("user_ip", ""))
            trace = f"name {name}" if name else address and f"address {address}"
            return self._names.setdefault(name, trace) if name else trace
        if number not in self._volunteers:
            before = self._names.get(name, "")
            volunteer = before if before.startswith("name ") else f"id {number}"
            self._volunteers[number] = volunteer
            if name:
                self._names.setdefault(name, volunteer)
        return self._volunteers[number]


def _hint(answer: object, task: Task) -> str:
    """Explain an answer that the file of tasks has, but for its quotes."""
    if isinstance(answer, str) and answer.isdecimal() and int(answer[:9]) in task:
        return f", the label: {answer} without quotes is an index, write '{answer}'"
    if isinstance(answer, int) and str(answer) in task:
        return f", the index: '{answer}' in quotes is a label, write {answer}"
    return ""
