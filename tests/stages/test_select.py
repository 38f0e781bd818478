"""Part of a catalogue is taken by ranges of its columns."""

import shlex

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from galaxymill.catalog.ingest import ingest
from galaxymill.catalog.settings import CatalogSettings
from galaxymill.errors import UserError
from galaxymill.storage.origin import read_record

NAN = float("nan")
GALAXIES = {
    "object_id": ["a", "b", "c", "d", "e"],
    "ra": [10.0, 20.0, 30.0, 40.0, 50.0],
    "dec": [0.0, 1.0, 2.0, 3.0, 4.0],
    "mag": [17.0, 18.0, 19.0, NAN, 20.0],
    "area": [100, 200, 300, 400, 500],
    "warned": [False, True, False, False, False],
}


def taken(source, **select):
    out = source.parent / "objects.parquet"
    settings = CatalogSettings(select=select)
    # As the workflow does, by way of the command line.
    words = shlex.split(settings.to_flags())
    again = CatalogSettings.from_flags(
        [words[i + 1] for i, word in enumerate(words) if word == "--set"], "ingest"
    )
    assert again == settings
    ingest(source, out, again)
    return "".join(sorted(pq.read_table(out)["object_id"].to_pylist()))


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ({"mag": (18, 19)}, "bc"),
        ({"mag": (None, 18)}, "ab"),
        ({"mag": (18.5, None)}, "ce"),
        ({"area": (200, 400)}, "bcd"),
        ({"area": (200, 400), "mag": (None, 18.5)}, "b"),
        ({"warned": (0, 0)}, "acde"),
        ({"ra": (15, 35)}, "bc"),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".fits"])
def test_a_galaxy_outside_is_not_in_the_survey(write_table, suffix, select, expected):
    assert taken(write_table(GALAXIES, suffix), **select) == expected


def test_a_value_that_is_absent_is_outside(write_table):
    source = write_table({**GALAXIES, "mag": [17.0, None, 19.0, 20.0, None]}, ".parquet")
    assert taken(source, mag=(None, 100)) == "acd"


def test_the_selection_is_told_and_kept(write_table, caplog):
    source = write_table(GALAXIES, ".parquet")
    with caplog.at_level("INFO", "galaxymill"):
        taken(source, area=(200, None))
    assert "select takes 4 of 5 galaxies" in caplog.text
    origin = read_record(source.parent / "objects.parquet").origin
    assert origin["parameters"]["select"] == {"area": [200, None]}


def test_without_a_selection_nothing_is_said_of_it():
    assert "select" not in CatalogSettings().to_flags()


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ({"magnitude": (1, 2)}, "no column magnitude; the columns are: object_id, ra, dec, mag"),
        ({"object_id": (1, 2)}, "column object_id is not numeric"),
        ({"mag": (90, 99)}, "select: none of 5 galaxies lies in the ranges of mag"),
    ],
)
def test_what_cannot_be_selected_is_refused(write_table, select, told):
    source = write_table(GALAXIES, ".parquet")
    with pytest.raises(UserError) as refusal:
        taken(source, **select)
    assert str(refusal.value).startswith(f"{source}: ")
    assert told in str(refusal.value)


@pytest.mark.parametrize("bounds", [(None, None), (2, 1), (1,), (1, 2, 3), "1,2", (NAN, 1)])
def test_what_is_no_range_is_refused(bounds):
    with pytest.raises(ValidationError):
        CatalogSettings(select={"mag": bounds})


@pytest.mark.parametrize("text", ["mag", "[1, 2]", '{"mag": [1, NaN]}', '{"mag": 3}'])
def test_a_bad_flag_is_refused(text):
    with pytest.raises(UserError, match="ingest: select"):
        CatalogSettings.from_flags([f"select={text}"], "ingest")
