"""Formats that give counts: a plain table, and the published layouts of GZ2 and GZ DECaLS.

GZ2: Willett et al. 2013 (MNRAS 435, 2835), table 2 numbers tasks (t01 to t11) and answers (a01 to
a38), and table 5 has a column ``t01_smooth_or_features_a01_smooth_count`` for each. Task 8, the
kinds of odd features, is no question of our tree: volunteers could choose several.

GZ DECaLS: Walmsley et al. 2022 (MNRAS 509, 3966): columns ``{question}_{answer}`` without the
survey's name, which our trees append to their questions.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from galaxymill.errors import UserError
from galaxymill.labels.rows import FormatSettings, Rows, read_counts, read_galaxies
from galaxymill.settings import Pairs
from galaxymill.tables import column_names
from galaxymill.trees.tree import Tree

GZ2_TASKS: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "smooth-or-featured-gz2": (1, {"smooth": 1, "featured-or-disk": 2, "artifact": 3}),
    "disk-edge-on-gz2": (2, {"yes": 4, "no": 5}),
    "bar-gz2": (3, {"yes": 6, "no": 7}),
    "has-spiral-arms-gz2": (4, {"yes": 8, "no": 9}),
    "bulge-size-gz2": (5, {"no": 10, "just-noticeable": 11, "obvious": 12, "dominant": 13}),
    "something-odd-gz2": (6, {"yes": 14, "no": 15}),
    "how-rounded-gz2": (7, {"round": 16, "in-between": 17, "cigar": 18}),
    "bulge-shape-gz2": (9, {"round": 25, "boxy": 26, "no-bulge": 27}),
    "spiral-winding-gz2": (10, {"tight": 28, "medium": 29, "loose": 30}),
    "spiral-arm-count-gz2": (
        11,
        {"1": 31, "2": 32, "3": 33, "4": 34, "more-than-4": 36, "cant-tell": 37},
    ),
}
"""Numbers of each question's task and of its answers in Willett et al. 2013, table 2."""

_GZ2_COLUMN = re.compile(r"t(\d\d)_.*_a(\d\d)_.*_count")
_SURVEY_SUFFIX = re.compile(r"-(dr12|dr5|dr8|desi)$")


class CountSettings(FormatSettings):
    """A table with a column of whole numbers for every answer of the tree."""

    columns: Pairs = Field({}, description="the table's column of an answer, where named otherwise")


class Gz2Settings(FormatSettings):
    """The published GZ2 table (Willett et al. 2013): columns t01_…_a01_…_count."""

    object_id: str = Field("objid", description="column of the unique identifier")


class GzDecalsSettings(FormatSettings):
    """The published GZ DECaLS table (Walmsley et al. 2022): columns {question}_{answer}."""

    object_id: str = Field("iauname", description="column of the unique identifier")
    columns: Pairs = Field({}, description="the table's column of an answer, where named otherwise")


def read_count_tables(paths: Sequence[Path], settings: CountSettings, tree: Tree) -> list[Rows]:
    """Read tables of counts; see `CountSettings`.

    A UserError says when a column is absent, an identifier is unfit or given twice, or a count is
    no whole number; so it does for the other formats.
    """
    names = renamed({column: column for column in tree.columns}, settings.columns, tree)
    return [_read(path, settings, tree, names) for path in paths]


def read_gz2(paths: Sequence[Path], settings: Gz2Settings, tree: Tree) -> list[Rows]:
    """Read tables in the published GZ2 layout; see `GZ2_TASKS`."""
    return [_read(path, settings, tree, _gz2_names(path, tree)) for path in paths]


def read_gz_decals(paths: Sequence[Path], settings: GzDecalsSettings, tree: Tree) -> list[Rows]:
    """Read tables in the published GZ DECaLS layout.

    A table may hold some of the questions only; the others then have no votes. A galaxy that
    was shown as two subjects has two rows; they add up.
    """
    plain = {
        column: f"{_SURVEY_SUFFIX.sub('', question.name)}_{answer}"
        for question in tree.questions
        for column, answer in question.column_answers
    }
    names = renamed(plain, settings.columns, tree)
    return [
        _read(path, settings, tree, _present(path, tree, names), rows_add_up=True) for path in paths
    ]


def renamed(names: dict[str, str], columns: Mapping[str, str], tree: Tree) -> dict[str, str]:
    """Put the user's names of columns in the place of a format's own."""
    unknown = sorted(set(columns) - set(names))
    if unknown:
        raise UserError(
            f"columns: {', '.join(unknown)}: tree {tree.name} has no such answer; allowed: "
            f"{', '.join(names)}"
        )
    return {**names, **columns}


def _gz2_names(path: Path, tree: Tree) -> dict[str, str]:
    there = column_names(path)
    matches = filter(None, map(_GZ2_COLUMN.fullmatch, there))
    numbered = {(int(match[1]), int(match[2])): match[0] for match in matches}
    names = {}
    for question in tree.questions:
        if question.name not in GZ2_TASKS:
            raise UserError(
                f"tree {tree.name}: {question.name} is no question of the published GZ2 table; "
                f"choose tree: gz2, whose questions are {', '.join(GZ2_TASKS)}"
            )
        task, answers = GZ2_TASKS[question.name]
        for column, answer in question.column_answers:
            key = (task, answers.get(answer, -1))
            if key not in numbered:
                raise UserError(
                    f"{path}: no column t{task:02}_…_a{answers.get(answer, 0):02}_…_count for "
                    f"{column}; is it the published GZ2 table? Its columns are: "
                    f"{', '.join(there[:20])[:1000]}"
                )
            names[column] = numbered[key]
    return names


def _present(path: Path, tree: Tree, names: Mapping[str, str]) -> dict[str, str]:
    """Names of the questions that the table has any answer of."""
    there = set(column_names(path))
    found = {
        column: names[column]
        for question in tree.questions
        if any(names[one] in there for one in question.columns)
        for column in question.columns
    }
    if not found:
        raise UserError(
            f"{path}: no column of tree {tree.name}, such as {names[tree.columns[0]]}; its "
            f"columns are: {', '.join(sorted(there)[:40])}"
        )
    return found


def _read(
    path: Path,
    settings: FormatSettings,
    tree: Tree,
    names: Mapping[str, str],
    rows_add_up: bool = False,
) -> Rows:
    """Read the columns ``names`` of a table; answers without a column have no votes."""
    table, ids, positions = read_galaxies(path, settings, names.values(), repeated=rows_add_up)
    values = np.zeros((table.num_rows, len(tree.columns)))
    values[:, [tree.columns.index(column) for column in names]] = read_counts(
        path, table, list(names.values())
    )
    if rows_add_up:
        # Galaxies are numbered as they come.
        galaxies = ids.combine_chunks().dictionary_encode()
        ids = galaxies.dictionary
        _, first = np.unique(galaxies.indices, return_index=True)
        sums = np.zeros((len(ids), values.shape[1]))
        np.add.at(sums, galaxies.indices.to_numpy(), values)
        values, positions = sums, positions[first]
    return Rows(str(path), ids.to_pylist(), values, positions)
