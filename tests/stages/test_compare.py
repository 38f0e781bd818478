"""``compare``: published catalogues, ours and HATS folders, beside each other."""

import json
import os
import subprocess
import sys

import astropy.units as u
import lsdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from distributed import LocalCluster
from PIL import Image
from scipy.stats import spearmanr
from typer.testing import CliRunner

from galaxymill.commands import catalogue
from galaxymill.comparison import workers
from galaxymill.comparison.catalogue import Catalogue
from galaxymill.comparison.compare import compare
from galaxymill.comparison.workers import open_workers
from galaxymill.errors import UserError

N = 300
ANSWERS = {
    "smooth-or-featured": ("smooth", "featured-or-disk", "artifact"),
    "bar": ("strong", "weak", "no"),
}
COLUMNS = [f"{question}_{answer}" for question, answers in ANSWERS.items() for answer in answers]


def draw_fractions(seed):
    """Fractions of N galaxies; the question of the bar is null for a third of them."""
    generator = np.random.default_rng(seed)
    parts = [generator.dirichlet([1.0] * 3, N) for _ in ANSWERS]
    parts[1][generator.random(N) < 1 / 3] = np.nan
    return pd.DataFrame(np.hstack(parts), columns=COLUMNS)


def draw_sky(seed=0):
    generator = np.random.default_rng(seed)
    return SkyCoord(generator.uniform(-5, 5, N), generator.uniform(-5, 5, N), unit="deg")


def suffixed(fractions, suffix):
    return fractions.add_suffix(suffix).to_dict("list")


IDS = [f"{330_000 + i}_{i % 977}" for i in range(N)]
SKY = draw_sky()
PLACES = {"ra": SKY.ra.deg, "dec": SKY.dec.deg}
OURS, THEIRS = draw_fractions(1), draw_fractions(2)


def nulls(columns):
    """NaN as null, as published tables have it."""
    return {
        name: pa.array(values, from_pandas=True) if "_fraction" in name else values
        for name, values in columns.items()
    }


@pytest.fixture
def release(tmp_path):
    """A release of ours: friendly nulls where few are asked, advanced has all."""
    folder = tmp_path / "dr1"
    folder.mkdir()
    unmasked = OURS.fillna(0.25)
    for name, fractions in (("friendly", OURS), ("advanced", unmasked)):
        columns = {"object_id": IDS, **PLACES, "dr8_id": IDS, **suffixed(fractions, "_fraction")}
        if name == "advanced":
            columns |= {f"{question}_proportion-asked": [0.5] * N for question in ANSWERS}
        pq.write_table(pa.table(nulls(columns)), folder / f"{name}.parquet")
    return folder


@pytest.fixture
def gz_desi(write_table):
    """In another order, and without the last ten galaxies."""
    fractions, order = suffixed(THEIRS, "_fraction"), np.random.default_rng(3).permutation(N - 10)
    columns = {"dr8_id": IDS, "brickid": range(N), "objid": range(N), **PLACES, **fractions}
    return write_table(
        {
            name: pa.array(list(values), from_pandas=True).take(order)
            for name, values in columns.items()
        },
        ".parquet",
        "gz_desi",
    )


def scores_of(a, b):
    both = pd.DataFrame({"a": a, "b": b}, dtype=np.float32).astype(float)
    good = both.dropna()
    difference = good.a - good.b
    return {
        "n": len(good),
        "null_only_a": int((both.a.isna() & both.b.notna()).sum()),
        "null_only_b": int((both.b.isna() & both.a.notna()).sum()),
        "bias": difference.mean(),
        "rmse": np.sqrt((difference**2).mean()),
        "max_difference": difference.abs().max(),
        "spearman": spearmanr(good.a, good.b).statistic,
    }


def test_a_release_beside_gz_desi(release, gz_desi, tmp_path):
    out = tmp_path / "out"
    told = compare(release, gz_desi, out=out)
    found = json.loads((out / "comparison.json").read_text())
    assert found["a"] == {
        "path": str(release / "advanced.parquet"),
        "layout": "galaxymill",
        "galaxies": N,
    }
    assert (found["b"]["layout"], found["b"]["galaxies"]) == ("gz_desi", N - 10)
    assert (found["matched"], found["match"]) == (N - 10, "by object_id = dr8_id")
    assert [row["column_a"] for row in found["columns"]] == [f"{name}_fraction" for name in COLUMNS]
    for name, row in zip(COLUMNS, found["columns"], strict=True):
        wanted = scores_of(OURS.fillna(0.25)[name][: N - 10], THEIRS[name][: N - 10])
        assert {key: row[key] for key in wanted} == pytest.approx(wanted, abs=1e-7)
    for question, answers in ANSWERS.items():
        names = [f"{question}_{answer}" for answer in answers]
        both = THEIRS[names][: N - 10].dropna()
        ours = OURS.fillna(0.25).loc[both.index, names].idxmax(axis=1)
        (row,) = [row for row in found["questions"] if row["question"] == question]
        assert row["n"] == len(both)
        assert row["agreement"] == pytest.approx((ours == both.idxmax(axis=1)).mean())
    assert "290 by object_id = dr8_id" in told
    for name in ("columns", "questions"):
        table = pd.read_csv(out / f"{name}.csv")
        assert table.to_dict("list").keys() == found[name][0].keys()
        assert len(table) == len(found[name])
    pictures = sorted(path.name for path in (out / "plots").glob("*.png"))
    assert pictures == ["01-smooth-or-featured.png", "02-bar.png"]
    for name in pictures:
        with Image.open(out / "plots" / name) as picture:
            assert picture.width > 700


def test_the_friendly_table_serves_where_there_is_no_other(release, gz_desi):
    (release / "advanced.parquet").unlink()
    told = compare(release, gz_desi)
    assert "friendly.parquet: 300 galaxies" in told


def test_a_catalogue_is_itself(release, tmp_path):
    compare(release, release, out=tmp_path / "out")
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    for row in found["columns"]:
        assert (row["bias"], row["rmse"], row["max_difference"]) == (0, 0, 0)
        assert row["spearman"] == pytest.approx(1)
    for row in found["questions"]:
        assert (row["agreement"], row["kappa"]) == (1, 1)


def test_counts_and_debiased_fractions_of_gz_decals_are_paired_by_a_map(
    release, write_table, tmp_path
):
    names = [f"J{i:06d}.00+000000.0" for i in range(N)]
    b = {"iauname": names, "dr8_id": IDS, **PLACES}
    for name in COLUMNS:
        b |= {name: [7] * N, f"{name}_fraction": THEIRS[name], f"{name}_debiased": OURS[name]}
    b |= {f"{question}_total-votes": [21] * N for question in ANSWERS}
    table = write_table(nulls(b), ".csv.gz", "gz_decals")
    mapped = tmp_path / "map.yaml"
    mapped.write_text("".join(f"{name}_fraction: {name}_debiased\n" for name in COLUMNS))
    with pytest.raises(UserError, match="may be gz_desi or gz_decals; say which with --layout-b"):
        compare(release, table)
    told = compare(
        *(release, table, "dr8_id", None, mapped, tmp_path / "out"), layouts=(None, "gz_decals")
    )
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert found["match"] == "by dr8_id"
    assert {row["answers"] for row in found["questions"]} == {3}
    assert max(row["max_difference"] for row in found["columns"]) == pytest.approx(0, abs=1e-6)
    assert "bar_no_{fraction, debiased}" in told


@pytest.mark.parametrize("kind", [".fits", ".parquet"])
def test_euclid_is_matched_by_position(release, write_table, tmp_path, kind):
    moved = SKY.directional_offset_by(30 * u.deg, np.linspace(0, 2, N) * u.arcsec)
    columns = {
        "object_id": np.arange(N) - 10**18,
        "right_ascension": moved.ra.deg,
        "declination": moved.dec.deg,
        **{f"{name}_fraction": THEIRS[name].to_numpy() for name in COLUMNS},
        **{f"{name}_dirichlet": np.full(N, 3.0) for name in COLUMNS},
    }
    table = write_table(columns, kind, "euclid")
    told = compare(release, table, sky="1arcsec", out=tmp_path / "out")
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert found["b"]["layout"] == "euclid_q1"
    nearest, separation, _ = SKY.match_to_catalog_sky(moved)
    near = separation.arcsec <= 1
    assert found["matched"] == near.sum() == len(set(nearest[near]))
    assert found["median_separation_arcsec"] == pytest.approx(np.median(separation.arcsec[near]))
    wanted = scores_of(OURS.fillna(0.25)[COLUMNS[0]][near], THEIRS[COLUMNS[0]].iloc[nearest[near]])
    assert {key: found["columns"][0][key] for key in wanted} == pytest.approx(wanted, abs=1e-7)
    assert f"{near.sum()} within 1 arcsec, median separation" in told
    with pytest.raises(UserError, match="no galaxy is in both"):
        compare(release, table)


@pytest.fixture
def as_hats(tmp_path):
    """A function that writes columns as a HATS catalogue of some tiles."""

    def write(columns, name, rows=100, collection=False):
        sky = lsdb.from_dataframe(
            pd.DataFrame(columns),
            catalog_name=name,
            partition_rows=rows,
            highest_order=6,
            margin_threshold=None,
        )
        assert sky.npartitions > 1
        sky.write_catalog(tmp_path / name, progress_bar=False, as_collection=collection)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler of dask, whose workers are threads of this process."""
    with LocalCluster(n_workers=2, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("collection", [False, True])
def test_a_hats_catalogue_is_read_by_its_columns(as_hats, gz_desi, tmp_path, collection):
    columns = {"object_id": IDS, **PLACES, **suffixed(THEIRS, "_fraction")}
    folder = as_hats(columns, "sky", collection=collection)
    for sky in (None, "0.1arcsec"):
        told = compare(folder, gz_desi, sky=sky, out=tmp_path / "out")
        found = json.loads((tmp_path / "out/comparison.json").read_text())
        assert (found["matched"], found["a"]["galaxies"]) == (N - 10, N)
        assert {row["max_difference"] for row in found["columns"]} == {0}
        assert "layout galaxymill" in told
    with pytest.raises(UserError, match=r"unknown column 'objectid'; allowed: .*object_id"):
        compare(folder, gz_desi, on="objectid")


@pytest.mark.parametrize("sky", [None, "1arcsec"])
def test_tiles_on_workers_give_the_figures_of_whole_tables(
    as_hats, write_table, scheduler, tmp_path, sky
):
    moved = SKY.directional_offset_by(30 * u.deg, np.linspace(0, 2, N) * u.arcsec)
    columns = [
        {"object_id": IDS, **PLACES, "size": THEIRS["bar_no"].to_numpy() * 9},
        {"object_id": IDS, "ra": moved.ra.deg, "dec": moved.dec.deg, "size": range(N)},
    ]
    for side, fractions in zip(columns, (OURS, THEIRS), strict=True):
        side |= suffixed(fractions, "_fraction")
    mapped = tmp_path / "map.yaml"
    mapped.write_text("size: size\n")
    tables = [
        write_table(nulls(side), ".parquet", name) for side, name in zip(columns, "ab", strict=True)
    ]
    release = tmp_path / "dr1"
    release.mkdir()
    as_hats(columns[0], "a").rename(release / "hats")
    tiles = [release, as_hats(columns[1], "b", rows=40)]
    told = []
    for pair, address in ((tables, None), (tiles, None), (tiles, scheduler)):
        compare(*pair, sky=sky, columns=mapped, out=tmp_path / "out", scheduler=address)
        told.append(json.loads((tmp_path / "out/comparison.json").read_text()))
    whole, *others = told
    assert 100 < whole["matched"] <= N
    for found in others:
        for key in ("columns", "questions"):
            for one, other in zip(found[key], whole[key], strict=True):
                assert one == {
                    name: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
                    for name, value in other.items()
                }
        for key in ("matched", "doubles", "median_separation_arcsec"):
            assert found[key] == pytest.approx(whole[key])
        assert found["a"]["path"] == str(release / "hats")


def test_many_galaxies_go_to_workers_that_load_no_torch(as_hats):
    columns = {"object_id": IDS, **PLACES, **suffixed(THEIRS, "_fraction")}
    columns["bar_no_fraction"] = [0.5] * (N - 1) + [50.0]
    sky = Catalogue.open(as_hats(columns, "sky"), None, "--layout-a")
    assert sky.tiled_rows == N
    with open_workers(None, workers.FEW_ROWS) as started:
        places = started.gather(sky.positions())
        assert sorted(np.concatenate([ra for ra, _ in places])) == sorted(PLACES["ra"])
        with pytest.raises(UserError, match=r"Npix=\d+: row \d+: bar_no_fraction is 50 "):
            started.gather(sky.numbers(["bar_no_fraction"], fractions=True))
        loaded = started._client.run(lambda: [*__import__("sys").modules])
        limits = started._client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
    assert len(loaded) == len(os.sched_getaffinity(0))
    assert not any("torch" in names for names in loaded.values())
    assert max(limits.values()) <= 2e9


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "smoke://node:8786"])
def test_a_scheduler_that_does_not_answer_is_told(release, gz_desi, address):
    # A process of its own: a client that never connected leaves its threads behind.
    words = ["-c", "from galaxymill.cli import main; main()", "compare", release, gz_desi]
    done = subprocess.run(
        [sys.executable, *words, "--scheduler", address], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert f"galaxymill: --scheduler {address}: no scheduler of dask answers" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_tile_is_told(as_hats, gz_desi, scheduler):
    columns = {"object_id": IDS, **PLACES, **suffixed(THEIRS, "_fraction")}
    folder = as_hats(columns, "sky")
    tile = next(folder.rglob("Npix=*.parquet"))
    tile.write_bytes(tile.read_bytes()[:-100])
    for address in (None, scheduler):
        with pytest.raises(UserError, match="a tile cannot be read: "):
            compare(folder, gz_desi, scheduler=address)


def test_a_second_comparison_takes_the_firsts_place(release, gz_desi, tmp_path):
    out = tmp_path / "out"
    compare(release, gz_desi, out=out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    compare(release, gz_desi, out=out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    mapped = tmp_path / "map.yaml"
    mapped.write_text("bar_no_fraction: bar_weak_fraction\n")
    told = compare(release, gz_desi, columns=mapped, out=out)
    assert len(list((out / "plots").glob("*.png"))) == 2
    assert "bar (A alone: weak); bar (B alone: no)" in told
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_fraction_is_not_compared_with_a_percentage(release, gz_desi, tmp_path):
    mapped = tmp_path / "map.yaml"
    mapped.write_text("bar_no_fraction: dec\n")
    with pytest.raises(UserError, match=r"gz_desi.parquet: row \d+: dec is .* a fraction is 0 to"):
        compare(release, gz_desi, columns=mapped)


def test_columns_of_no_question_have_scores_and_a_figure(release, gz_desi, tmp_path):
    mapped = tmp_path / "map.yaml"
    mapped.write_text("ra: ra\ndec: dec\n")
    compare(release, gz_desi, columns=mapped, out=tmp_path / "out")
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert [row["question"] for row in found["columns"]][:2] == [None, None]
    assert [row["question"] for row in found["questions"]] == [*ANSWERS]
    assert (tmp_path / "out/plots/01-other-columns.png").is_file()


def test_answers_of_one_alone_and_columns_without_values_are_told(write_table, tmp_path):
    a, b = (suffixed(fractions.iloc[:, 3:], "_fraction") for fractions in (OURS, THEIRS))
    b["bar_no_fraction"] = pa.nulls(N, pa.float32())
    b["bar_unsure_fraction"] = b.pop("bar_weak_fraction")
    size = {"size": [7.0] * N}
    tables = [
        write_table(nulls({"object_id": IDS, **PLACES, **columns, **size}), ".parquet", name)
        for name, columns in (("a", a), ("b", b))
    ]
    mapped = tmp_path / "map.yaml"
    mapped.write_text("size: size\n")
    told = compare(*tables, columns=mapped, out=tmp_path / "out")
    assert "left out: bar (A alone: weak); bar (B alone: unsure)." in told
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    (bar,) = found["questions"]
    assert (bar["answers"], bar["n"], bar["agreement"]) == (2, 0, None)
    empty, constant = found["columns"][1:]
    assert (empty["n"], empty["bias"], empty["spearman"]) == (0, None, None)
    assert (constant["n"], constant["bias"], constant["spearman"]) == (N, 0, None)
    assert len(list((tmp_path / "out/plots").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "ra", "sky": "1arcsec"}, "--on ra and --sky 1arcsec: give one of them"),
        ({"on": "ra"}, "ra holds decimal numbers"),
        ({"sky": "2arcmin"}, "--sky: '2arcmin' is 120 arcsec; allowed: above 0 and at most 60"),
        ({"layouts": ("gz_dezi", None)}, "--layout-a: unknown layout 'gz_dezi'; allowed"),
        ({"layouts": (None, "gz_decals")}, "gz_desi.parquet: unknown column 'iauname'; allowed"),
    ],
)
def test_what_cannot_be_compared_is_refused(release, gz_desi, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        compare(release, gz_desi, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_columns_that_are_no_numbers_are_refused(release, write_table):
    words = write_table({"object_id": IDS, **PLACES, "bar_no_fraction": ["few"] * N}, ".csv")
    with pytest.raises(UserError, match=r"galaxies.csv: column bar_no_fraction is not numeric"):
        compare(release, words)


def test_folders_and_files_that_are_no_catalogue_are_refused(release, tmp_path):
    with pytest.raises(UserError, match=r"neither a release .* nor a HATS catalogue"):
        compare(tmp_path, release)
    with pytest.raises(UserError, match=r"nowhere.parquet: no such file"):
        compare(release, tmp_path / "nowhere.parquet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "hats.properties").write_text("obs_collection=x\n")
    with pytest.raises(UserError, match="broken: is no HATS catalogue"):
        compare(tmp_path / "broken", release)


def test_the_command_prints_the_tables(release, gz_desi):
    done = CliRunner().invoke(catalogue.app, ["compare", str(release), str(gz_desi)])
    assert done.exit_code == 0, done.output
    assert "smooth-or-featured_smooth_fraction" in done.stdout
    assert "same answer" in done.stdout
    refused = CliRunner().invoke(catalogue.app, ["compare", str(release), "nowhere.csv"])
    assert isinstance(refused.exception, UserError)


def test_debiased_fractions_of_galaxy_zoo_2(shared_data, tmp_path):
    table = shared_data / "gz2_stripe82_votes" / "table5.csv.gz"
    if not table.is_file():
        pytest.skip("no published GZ2 table beside the checkout")
    frame = pd.read_csv(table, dtype={"objid": str})
    stems = [
        name.removesuffix("_fraction")
        for name in frame.columns
        if name.endswith("_fraction") and not name.endswith("_weighted_fraction")
    ]
    mapped = tmp_path / "map.yaml"
    mapped.write_text("".join(f"{stem}_fraction: {stem}_debiased\n" for stem in stems))
    compare(*(table, table, "objid", None, mapped, tmp_path / "out"), layouts=("gz2", "gz2"))
    found = json.loads((tmp_path / "out/comparison.json").read_text())
    assert found["matched"] == len(frame) == 19_761
    assert len(found["questions"]) == 11
    for stem, row in zip(stems, found["columns"], strict=True):
        wanted = scores_of(frame[f"{stem}_fraction"], frame[f"{stem}_debiased"])
        assert {key: row[key] for key in wanted} == pytest.approx(wanted, abs=1e-7)
    smooth = [stem for stem in stems if stem.startswith("t01_")]
    tops = [
        frame[[f"{stem}_{kind}" for stem in smooth]].to_numpy().argmax(axis=1)
        for kind in ("fraction", "debiased")
    ]
    assert found["questions"][0]["agreement"] == pytest.approx((tops[0] == tops[1]).mean())
