"""The file of ratings: what a kill, a full disk, an editor or another process makes of it."""

import csv
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from galaxymill.errors import UserError
from galaxymill.interest.page.notebook import Notebook
from galaxymill.interest.ratings import COLUMNS, read_ratings

HEAD = ",".join(COLUMNS) + "\n"
FIRST = "a,5,ann,2026-01-02T10:00:00Z,\n"
ROW = ("b", "3", "bob", "2026-01-02T10:00:01Z", "")


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_file_comes_with_the_first_row(tmp_path):
    path = tmp_path / "new" / "ratings.csv"
    notebook = Notebook(path)
    assert not path.exists()
    notebook.append([ROW])
    notebook.append([ROW, ROW])
    assert path.read_text() == HEAD + 3 * "b,3,bob,2026-01-02T10:00:01Z,\n"


NAMES = ['say "no", twice', "two\nlines", "=1+1", "a,b", "née 赤\u2028𝛼", "'", "\ttab\r"]


def test_names_of_any_letters_come_back(tmp_path):
    path = tmp_path / "ratings.csv"
    notebook = Notebook(path)
    for name in NAMES:
        notebook.append([(name, "4", name, "", name)])
    assert [(r["object_id"], r["rater"], r["note"]) for r in rows(path)] == [
        (name, name, name) for name in NAMES
    ]
    said = read_ratings([path]).by_rater
    assert {rater: list(own) for rater, own in said.items()} == {name: [name] for name in NAMES}


# Where a row was cut; all but those of which only the note was cut are taken away.
TWO = '"b, ""x""\ny",3,bob,2026-01-02T10:00:01Z,artifact\n'


@pytest.mark.parametrize("cut", range(len(TWO)))
def test_what_is_left_of_a_row_is_taken_away(tmp_path, cut):
    path = tmp_path / "ratings.csv"
    path.write_text(HEAD + FIRST + TWO[:cut], newline="")
    Notebook(path).append([ROW])
    found = rows(path)
    assert [row["object_id"] for row in found if row["rater"] == "ann"] == ["a"]
    assert found[-1] == dict(zip(COLUMNS, ROW, strict=True))
    is_whole = cut >= TWO.index("artifact")
    assert len(found) == (3 if is_whole else 2)
    assert len(read_ratings([path]).by_rater["ann"]) == 1


@pytest.mark.parametrize("cut", range(len(HEAD) + 1))
def test_a_header_that_was_cut_is_written_again(tmp_path, cut):
    path = tmp_path / "ratings.csv"
    path.write_text(HEAD[:cut])
    Notebook(path).append([ROW])
    assert rows(path) == [dict(zip(COLUMNS, ROW, strict=True))]


def test_a_row_without_line_break_by_an_editor_stays(tmp_path):
    path = tmp_path / "ratings.csv"
    notebook = Notebook(path)
    notebook.append([ROW])
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + FIRST).replace("\n", "\r\n").encode()[:-2])
    notebook.append([ROW])
    assert read_ratings([path]).by_rater == {"ann": {"a": 5}, "bob": {"b": 3}}


@pytest.mark.parametrize("text", ["object_id,rating\na,5\n", "x\n", "a,b,c,d,e", "\0\0\0"])
def test_another_table_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="name a new file first"):
        Notebook(path)
    assert path.read_text() == text


def test_where_nobody_may_write_and_other_kinds_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"\.csv first"):
        Notebook(tmp_path / "ratings.parquet")
    (tmp_path / "ratings.csv").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        Notebook(tmp_path / "ratings.csv")


FULL = """
import resource, signal, sys
from pathlib import Path
from galaxymill.interest.page.notebook import Notebook
notebook = Notebook(Path(sys.argv[1]))
row = ("b", "3", "bob", "2026-01-02T10:00:01Z", "")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    notebook.append([row, row])
except OSError:
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
notebook.append([row])
"""


@pytest.mark.parametrize("room", [0, 1, 20, 31, 55])
def test_a_full_disk_leaves_nothing_half_and_is_told(tmp_path, room):
    path = tmp_path / "ratings.csv"
    path.write_text(HEAD + FIRST)
    size = path.stat().st_size + room
    command = [sys.executable, "-c", FULL, str(path), str(size)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "refused\n"
    assert path.read_text() == HEAD + FIRST + "b,3,bob,2026-01-02T10:00:01Z,\n"


def test_a_device_that_is_full_is_told(tmp_path):
    path = tmp_path / "ratings.csv"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        Notebook(path).append([ROW])


def test_many_at_once_by_two_that_do_not_know_each_other(tmp_path):
    path = tmp_path / "ratings.csv"
    books = Notebook(path), Notebook(path)

    def write(number):
        row = (f"g{number}", "1", f"r{number % 4}", "", 'a "note", long ' * 5)
        books[number % 2].append([row])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(400)))
    assert {row["object_id"] for row in rows(path)} == {f"g{n}" for n in range(400)}
    assert len(rows(path)) == 400


def test_it_is_seen_that_others_have_written(tmp_path):
    path = tmp_path / "ratings.csv"
    one, other = Notebook(path), Notebook(path)
    one.append([ROW])
    assert not one.was_changed
    other.append([ROW])
    one.append([ROW])
    assert one.was_changed
    one.knows(one.size())
    one.append([ROW])
    assert not one.was_changed
