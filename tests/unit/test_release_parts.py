"""Parts of a release: tiles, columns, the README, and the audit."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.release.audit import Audit, Census, audit, census
from galaxymill.release.columns import TABLES, release_columns, schema_of
from galaxymill.release.documents.readme import Facts, write_readme
from galaxymill.release.predictions import mask_unasked
from galaxymill.release.settings import ReleaseSettings
from galaxymill.sky.healpix import HIGHEST_ORDER, Pixel, cut_sky
from galaxymill.storage.columns import field
from galaxymill.storage.origin import Origin
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.trees.tree import parse_tree

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from made_predictions import a_prediction

TREE = parse_tree({"name": "t", "questions": {"bar": {"answers": ["yes", "no"]}}}, "t")
TASK = VoteTask(TREE)
SAID = [a_prediction(TASK)]
TASKS = [TASK, ClassTask(TREE), NumberTask("z")]
PIXELS = 12 * 4**HIGHEST_ORDER


def test_tiles_cover_each_galaxy_once_and_hold_few_enough():
    counts = np.zeros(PIXELS, np.int64)
    generator = np.random.default_rng(1)
    np.add.at(counts, generator.integers(PIXELS // 3, PIXELS // 3 + 4**7, 5000), 1)
    tiles = cut_sky(counts, 300, "galaxies_per_tile")
    assert sum(tile.rows for tile in tiles) == 5000
    assert max(tile.rows for tile in tiles) <= 300
    assert [tile.range for tile in tiles] == sorted(tile.range for tile in tiles)
    ranges = pairwise(tile.range for tile in tiles)
    assert all(end <= start for (_, end), (start, _) in ranges)
    step = Pixel(HIGHEST_ORDER, 0, 0).range[1]
    for tile in tiles:
        low, high = (edge // step for edge in tile.range)
        assert counts[low:high].sum() == tile.rows


def test_a_field_that_is_too_crowded_is_refused():
    counts = np.zeros(PIXELS, np.int64)
    counts[7] = 5
    with pytest.raises(UserError, match="galaxies_per_tile: 4 is less than the 5 galaxies"):
        cut_sky(counts, 4, "galaxies_per_tile")


@given(order=st.integers(0, 28), pixel=st.integers(0, 11))
def test_a_pixel_is_its_four_children(order, pixel):
    low, high = Pixel(order, pixel, 0).range
    children = [Pixel(order + 1, 4 * pixel + child, 0).range for child in range(4)]
    assert (children[0][0], children[-1][1]) == (low, high)


def test_every_column_is_described_and_stands_in_a_table():
    tile = products.objects(["petro_r50", "file_loc"], [field("mag", pa.float32(), "r")])
    said = [a_prediction(task) for task in TASKS if task.kind != "class"]
    columns = release_columns(tile, said, {})
    assert all(column.description and column.tables for column in columns)
    assert "file_loc" not in schema_of(columns).names
    assert "_healpix_29" in schema_of(columns, "hats").names
    assert "_healpix_29" not in schema_of(columns, "advanced").names
    assert {table for column in columns for table in column.tables} == set(TABLES)


@pytest.mark.parametrize("name", ["flags", "status", "bar_yes_fraction"])
def test_a_kept_column_may_not_hide_one_of_the_release(name):
    tile = products.objects(kept=[field(name, pa.float32(), "kept")])
    with pytest.raises(UserError, match=f"two columns would be called {name}"):
        release_columns(tile, SAID, {})


@settings(max_examples=25)
@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1, width=32)), min_size=1, max_size=20),
    st.sampled_from([0, 0.25, 0.5]),
)
def test_the_mask_keeps_a_fraction_when_enough_are_asked(asked, cut):
    schema = pa.schema(
        [
            TASK.summary_fields()[0],
            TASK.summary_fields()[3],
        ]
    )
    fractions = [field for field in schema if field.name.endswith("_fraction")]
    rows = pa.table(
        {
            "bar_yes_fraction": pa.array([0.25] * len(asked), pa.float32()),
            "bar_no_fraction": pa.array([0.75] * len(asked), pa.float32()),
            "bar_proportion-asked": pa.array(asked, pa.float32()),
        }
    )
    masked = mask_unasked(rows, SAID, pa.schema(fractions), cut)
    expected = [0.25 if value is not None and value >= cut else None for value in asked]
    assert masked["bar_yes_fraction"].to_pylist() == expected


def ids(path, names):
    pq.write_table(pa.table({"object_id": pa.array(names, pa.string())}), path)
    return path


def test_the_audit_counts_what_is_missing_and_what_is_foreign(tmp_path):
    objects = ids(tmp_path / "objects.parquet", ["a", "b", "c"])
    good = ids(tmp_path / "good.parquet", ["c", "a", "b"])
    assert audit(objects, {"good": [good]}, tmp_path) == {"good": Audit(3, 3, 3, 0, 0)}
    bad = ids(tmp_path / "bad.parquet", ["a", "a", "x"])
    with pytest.raises(RuntimeError, match="distinct_ids=2, missing=2, orphan=1"):
        audit(objects, {"bad": [bad]}, tmp_path)
    with pytest.raises(UserError, match=r"bad.parquet: 1 galaxies .* e.g. 'a'"):
        audit(bad, {"good": [good]}, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet"}


def test_the_census_counts_bits(tmp_path):
    table = pa.table({"status": ["ok", "ok", "partial"], "flags": pa.array([0, 256, 96])})
    pq.write_table(table, tmp_path / "advanced.parquet")
    bits = {"all": flags.unfit_bits(flags.UNFIT), "some": flags.unfit_bits(["domain_shift"])}
    found = census(tmp_path / "advanced.parquet", bits, tmp_path)
    assert found.status == {"ok": 2, "partial": 1}
    assert found.unfit == {"all": 1, "some": 1}
    told = {name for name, count in found.flags.items() if count}
    assert told == {"domain_shift", "band_empty", "zero_or_nan_above_20pc"}


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"questions": {"bar": {"answers": [1]}}},
        {"questions": {"bar": {"answers": {"yes": {"rmse": None, "baselines": {"mean": 0.3}}}}}},
        {"classes": {"yes": {"precision": None}}, "overall": {"accuracy": None}},
        {"overall": {"rmse": None, "n": 0}},
        {"overall": {"n": 3, "rmse": 0.5, "bias": None, "coverage_90": None}},
    ],
)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_the_readme_takes_any_metrics(tmp_path, metrics, task):
    found = Census({"ok": 1}, dict.fromkeys(flags.BITS, 0), {"said": 0})
    facts = Facts("dr1", 1, 1, found)
    said = [a_prediction(task, metrics=metrics)]
    columns = release_columns(products.objects(), said, {})
    told = ReleaseSettings(date="2026-01-01")
    write_readme(tmp_path / "R.md", facts, said, Origin("release"), columns, told)
    text = (tmp_path / "R.md").read_text()
    assert ("not debiased for redshift" in text) == (task.kind == "votes")
    assert "None" not in text
