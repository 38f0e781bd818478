"""Ratings as people write them, and what is wrong with some."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxymill.errors import UserError
from galaxymill.interest.ratings import read_ratings


def write(folder, text, name="ratings.csv"):
    path = folder / name
    path.write_text(text)
    return path


def test_the_last_rating_of_a_rater_counts_and_raters_are_averaged(tmp_path):
    path = write(
        tmp_path,
        "object_id,rating,rater,rated_at,note\n"
        "a,5,ann,2026-01-02T10:00:00Z,a ring\n"
        "b,0,ann,2026-01-02T10:00:01Z,\n"
        "a,1,bob,2026-01-02T10:00:02Z,\n"
        "a,3,ann,2026-01-02T10:00:03Z,changed my mind\n",
    )
    ratings = read_ratings([path])
    assert ratings.by_rater == {"ann": {"a": 3, "b": 0}, "bob": {"a": 1}}
    names, means = ratings.mean()
    assert (names, means.tolist()) == (["a", "b"], [2, 0])


def test_several_files_are_added_to_one_another(tmp_path):
    one = write(tmp_path, "object_id,rating\n0012,2\n", "one.csv")
    other = write(tmp_path, "object_id,rating\n0013,4.5\n0012,1\n", "other.csv")
    names, means = read_ratings([one, other]).mean()
    assert (names, means.tolist()) == (["0012", "0013"], [1, 4.5])


def test_an_empty_rating_withdraws_what_the_same_rater_said(tmp_path):
    path = write(
        tmp_path,
        "object_id,rating,rater\na,5,ann\na,3,bob\nb,1,ann\na,,ann\nc,,ann\nb,,bob\nb,,ann\nb,2,ann\n",
    )
    ratings = read_ratings([path])
    assert ratings.by_rater == {"ann": {"b": 2}, "bob": {"a": 3}}
    table = pa.table({"object_id": ["a", "b", "a"], "rating": [4.5, 2.0, None]})
    pq.write_table(table, tmp_path / "ratings.parquet")
    assert read_ratings([tmp_path / "ratings.parquet"]).by_rater == {"": {"b": 2}}


def test_an_artifact_is_one_until_its_rater_says_otherwise(tmp_path):
    head = "object_id,rating,rater,rated_at,note\n"
    rows = "a,0,ann,,artifact\na,0,bob,,artifact\nb,0,ann,,artifact\nb,4,ann,,\na,,bob,,\n"
    ratings = read_ratings([write(tmp_path, head + rows)])
    assert ratings.artifacts == {"ann": {"a"}, "bob": set()}
    assert ratings.by_rater == {"ann": {"a": 0, "b": 4}}


def test_raters_and_notes_that_look_like_numbers_stay_as_they_are(tmp_path):
    head = "object_id,rating,rater,rated_at,note\n"
    ratings = read_ratings([write(tmp_path, head + "a,3,007,,1\nb,2,,,\n")])
    assert ratings.by_rater == {"007": {"a": 3}, "": {"b": 2}}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,6\n", "row 1: rating 6; it is a number from 0 to 5"),
        ("a,1\nb,-1\n", "row 2: rating -1"),
        ("a,nan\n", "row 1: rating nan"),
        ("a,good\n", "column rating is not numeric: 'good' in row 1"),
        ("a,inf\n", "row 1: rating inf"),
        (",3\n", "object_id"),
    ],
)
def test_what_is_no_rating_is_refused(tmp_path, rows, message):
    path = write(tmp_path, f"object_id,rating\n{rows}")
    with pytest.raises(UserError, match=r"ratings\.csv") as refusal:
        read_ratings([path])
    assert message in str(refusal.value)


def test_a_table_without_ratings_is_refused(tmp_path):
    with pytest.raises(UserError, match="rating"):
        read_ratings([write(tmp_path, "object_id,score\na,1\n")])
