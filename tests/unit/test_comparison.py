"""Layouts, pairs, matches and statistics of a comparison, against references not ours."""

import warnings
from functools import reduce
from unittest.mock import patch

import astropy.units as u
import lsdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
import yaml
from astropy.coordinates import SkyCoord
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from galaxymill.comparison import statistics
from galaxymill.comparison.catalogue import Catalogue
from galaxymill.comparison.layouts import LAYOUTS, find_layout
from galaxymill.comparison.match import match_ids, match_positions, parse_radius
from galaxymill.comparison.pairs import by_question, pair_columns, read_map
from galaxymill.comparison.panel import Panel
from galaxymill.comparison.statistics import (
    ColumnSums,
    Counts,
    count_answers,
    question_scores,
)
from galaxymill.comparison.workers import Workers
from galaxymill.errors import UserError
from galaxymill.sky.healpix import healpix_pixels
from galaxymill.trees.tree import load_tree

FRACTIONS = ("bar_yes_fraction", "bar_no_fraction")
HERE = Workers(None)


@pytest.fixture
def catalogue(tmp_path):
    """A function that writes columns as Parquet and opens them."""

    def make(columns, name="a", layout=None):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(columns), path)
        return Catalogue.open(path, layout, f"--layout-{name}")

    return make


@pytest.fixture
def tiled(tmp_path):
    """A function that writes columns as a HATS catalogue of small tiles and opens it."""

    def make(columns, name="a"):
        frame = pd.DataFrame(columns)
        with warnings.catch_warnings(action="ignore"):
            cut = {"partition_rows": 150, "highest_order": 6}
            sky = lsdb.from_dataframe(frame, catalog_name=name, margin_threshold=None, **cut)
            assert sky.npartitions > 3
            sky.write_catalog(tmp_path / name, progress_bar=False, as_collection=False)
        return Catalogue.open(tmp_path / name, None, f"--layout-{name}")

    return make


def matched(match, a, b):
    """Identifiers of all pairs, by that of A."""
    ids = [HERE.gather(c.ids(c.layout.object_id)) for c in (a, b)]
    found = [
        (ids[0][part][row_a].as_py(), ids[1][own][row_b].as_py())
        for (own, _, _), pairs in zip(
            match.pairs, HERE.gather([task for *_, task in match.pairs]), strict=True
        )
        for part, rows in pairs.rows.items()
        for row_a, row_b in zip(*map(np.ndarray.tolist, rows), strict=True)
    ]
    assert len(found) == match.matched
    return sorted((int(one), int(other)) for one, other in found)


def named(*columns, layout="galaxymill"):
    """A catalogue that is nothing but names."""
    return Catalogue(None, layout, columns)


# Layouts


@pytest.mark.parametrize(
    ("layout", "columns"),
    [
        ("galaxymill", "object_id ra dec bar_yes_fraction bar_proportion-asked status flags"),
        ("gz_desi", "dr8_id brickid objid ra dec bar_yes_fraction bar_yes_fraction_90pc-lower"),
        ("gz_decals", "iauname ra dec bar_yes bar_yes_fraction bar_yes_debiased bar_total-votes"),
        ("euclid_q1", "object_id tile_index right_ascension declination bar_yes_dirichlet"),
        ("gz2", "dr7objid ra dec t03_bar_a06_bar_fraction"),
    ],
)
def test_a_layout_is_told_by_its_columns(layout, columns):
    assert find_layout("f", columns.split(), None, "--layout-a") == layout


def test_columns_that_tell_nothing_or_too_much_need_the_option():
    with pytest.raises(UserError, match=r"f: .*no layout known.*iauname, ra, dec.*--layout-a"):
        find_layout("f", ["iauname", "bar_yes_fraction"], None, "--layout-a")
    with pytest.raises(UserError, match=r"gz_desi or gz_decals.*--layout-b"):
        find_layout("f", ["dr8_id", "iauname", "ra", "dec"], None, "--layout-b")
    assert find_layout("f", ["iauname"], "gz_decals", "--layout-a") == "gz_decals"
    with pytest.raises(UserError, match=r"--layout-a: unknown layout 'gz1'; allowed: .*gz_desi"):
        find_layout("f", ["iauname"], "gz1", "--layout-a")


def test_the_share_of_bad_pixels_is_no_vote():
    assert LAYOUTS["galaxymill"].label("bad_pixel_fraction") is None
    assert not LAYOUTS["galaxymill"].is_fraction("bad_pixel_fraction")


def test_columns_of_every_tree_are_split_into_question_and_answer(trees):
    for path in trees.glob("*.yaml"):
        for question in load_tree(path).questions:
            for column, answer in zip(question.columns, question.answers, strict=True):
                for kind in ("fraction", "debiased"):
                    found = LAYOUTS["gz_decals"].label(f"{column}_{kind}")
                    assert found == (question.name, answer)


def test_names_of_galaxy_zoo_2_hold_underscores():
    layout = LAYOUTS["gz2"]
    column = "t01_smooth_or_features_a02_features_or_disk"
    assert layout.label(f"{column}_debiased") == ("t01_smooth_or_features", "a02_features_or_disk")
    assert layout.is_fraction(f"{column}_fraction")
    assert not layout.is_fraction(f"{column}_debiased")
    assert layout.label(f"{column}_weighted_fraction") is None


# Pairs


def test_fractions_of_one_name_pair_and_others_by_the_map(tmp_path):
    a = named("object_id", "ra", *FRACTIONS, "ring_yes_fraction", "mag_r", "bar_yes_90pc-lower")
    b = named("object_id", "ra", *FRACTIONS, "ring_ja_fraction", "r", "bar_yes_90pc-lower")
    path = tmp_path / "map.yaml"
    path.write_text("ring_yes_fraction: ring_ja_fraction\nmag_r: r\n")
    pairs = pair_columns(a, b, read_map(path, a, b))
    assert [(pair.a, pair.b) for pair in pairs] == [
        *((name, name) for name in FRACTIONS),
        ("ring_yes_fraction", "ring_ja_fraction"),
        ("mag_r", "r"),
    ]
    assert [question.name for question in by_question(pairs, a, b)] == ["bar", "ring", ""]


def test_answers_without_a_counterpart_are_named():
    a = named("q_yes_fraction", "q_no_fraction", "q_maybe_fraction", "q_maybe_debiased", "p_no")
    b = named("q_yes_fraction", "q_no_fraction", "q_unsure_fraction")
    (question,) = by_question(pair_columns(a, b, {}), a, b)
    assert (question.unpaired_a, question.unpaired_b) == (("maybe",), ("unsure",))


def test_the_map_goes_before_equal_names():
    a, b = named(*FRACTIONS), named(*FRACTIONS)
    pairs = pair_columns(a, b, {FRACTIONS[0]: FRACTIONS[1]})
    assert [(pair.a, pair.b) for pair in pairs] == [FRACTIONS]


def test_no_pair_is_refused_with_what_each_has():
    a, b = named("object_id", "bar_yes_fraction"), named("object_id", "bar_yes_debiased")
    with pytest.raises(UserError, match=r"A has bar_yes_fraction; B has none .*--map"):
        pair_columns(a, b, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no keys .*; a map of columns"),
        ("[a, b]", "no keys .*; a map of columns"),
        ("bar_yes_fraction: no", "column of B is of type bool.*quotes"),
        ("bar_yes_fraction: {a: b}", "column of B is of type dict"),
        ("bar_yess_fraction: bar_no_fraction", "unknown column of A 'bar_yess_fraction'.*allowed"),
        ("bar_yes_fraction: bar_nein_fraction", "unknown column of B 'bar_nein_fraction'"),
        ("bar_yes_fraction: x\nbar_yes_fraction: y", "given twice: bar_yes_fraction"),
        ("{bar_yes_fraction: x, bar_no_fraction: x}", "column of B given twice: x"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("#" * 1_000_001, "too large for a map of columns"),
    ],
)
def test_a_bad_map_is_refused(tmp_path, text, message):
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_map(path, named(*FRACTIONS), named(*FRACTIONS, "x", "y"))


plain_yaml = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(FRACTIONS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(FRACTIONS), inner),
    max_leaves=6,
)


@given(plain=plain_yaml)
@example(plain={FRACTIONS[0]: FRACTIONS[1]})
def test_any_yaml_is_a_map_or_a_user_error(tmp_path_factory, plain):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(plain))
    try:
        found = read_map(path, named(*FRACTIONS), named(*FRACTIONS))
    except UserError:
        return
    assert found == plain
    assert {*found, *found.values()} <= set(FRACTIONS)


# The radius


@pytest.mark.parametrize("text", ["1arcsec", "1 arcsec", "0.5 arcmin", "1arcmin", "0.0001 deg"])
def test_a_radius_is_read_as_astropy_does(text):
    assert parse_radius(text) == pytest.approx(u.Quantity(text).to_value("arcsec"))


@pytest.mark.parametrize(
    "text",
    ["1", "", "0arcsec", "-1arcsec", "1.01arcmin", "nan arcsec", "inf arcsec", "1m", "1e999arcsec"],
)
def test_what_is_no_small_angle_is_refused(text):
    with pytest.raises(UserError, match=r"--sky: .*at most 60 arcsec"):
        parse_radius(text)


@given(
    st.text()
    | st.builds("{}{}".format, st.floats(), st.sampled_from(["arcsec", " arcmin", "deg", "s", ""]))
)
def test_any_text_is_a_radius_in_range_or_a_user_error(text):
    try:
        radius = parse_radius(text)
    except UserError:
        return
    assert 0 < radius <= 60


# Statistics

fractions = st.lists(
    st.tuples(*[st.none() | st.sampled_from([0, 0.25, 0.5, 1]) | st.floats(0, 1, width=32)] * 2),
    max_size=30,
)


@given(fractions, st.integers(1, 4))
def test_scores_of_a_column_are_those_of_pandas_and_scipy(rows, pieces):
    frame = pd.DataFrame(rows, columns=["a", "b"], dtype=float)
    parts = np.array_split(frame.to_numpy(np.float32), pieces)
    sums = reduce(ColumnSums.plus, [ColumnSums.of(*part.T) for part in parts])
    scores = sums.scores(sum(sums.rank_product(*part.T) for part in parts))
    both = frame.dropna()
    assert scores["n"] == len(both)
    assert scores["null_only_a"] == (frame.a.isna() & frame.b.notna()).sum()
    assert scores["null_only_b"] == (frame.b.isna() & frame.a.notna()).sum()
    if both.empty:
        assert [scores[key] for key in ("bias", "rmse", "max_difference")] == [None] * 3
    else:
        difference = both.a - both.b
        assert scores["bias"] == pytest.approx(difference.mean(), abs=1e-12)
        assert scores["rmse"] == pytest.approx(np.sqrt((difference**2).mean()), abs=1e-12)
        assert scores["max_difference"] == pytest.approx(difference.abs().max(), abs=1e-12)
    if both.nunique().min() > 1:
        # pandas ranks and correlates without scipy.
        expected = both.a.rank().corr(both.b.rank())
        assert scores["spearman"] == pytest.approx(expected, abs=1e-9)
        assert expected == pytest.approx(scipy.stats.spearmanr(both.a, both.b)[0], abs=1e-9)
    else:
        assert scores["spearman"] is None


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=60),
    st.permutations(range(5)),
)
def test_counts_are_the_same_in_any_order_of_the_parts(values, order):
    values = np.array(values, np.float32)
    parts = np.array_split(values, 5)
    with patch.object(statistics, "MOST_KEYS", 8):
        whole = Counts.of(values)
        found = sum((Counts.of(parts[place]) for place in order), Counts.of(values[:0]))
        assert len(whole.keys) <= 8
    assert found.shift == whole.shift
    assert found.keys.tolist() == whole.keys.tolist()
    assert found.counts.tolist() == whole.counts.tolist()
    # No order of two numbers is turned round.
    ranks = whole.ranks_of(values)
    assert (np.diff(ranks[np.argsort(values, kind="stable")]) >= 0).all()
    if whole.shift == 0:
        expected = scipy.stats.rankdata(values) - (len(values) + 1) / 2
        assert ranks == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_rank_correlations_of_many_numbers_are_those_of_scipy(spread):
    generator = np.random.default_rng(8)
    # As fractions are: most near 0, some near 1.
    a = generator.beta(0.3, 1.5, 600_000).astype(np.float32)
    b = np.clip(a + generator.normal(0, spread, len(a)), 0, 1).astype(np.float32)
    parts = list(zip(np.array_split(a, 3), np.array_split(b, 3), strict=True))
    sums = reduce(ColumnSums.plus, [ColumnSums.of(*part) for part in parts])
    assert len(sums.counts_a.keys) <= statistics.MOST_KEYS < len(np.unique(a))
    scores = sums.scores(sum(sums.rank_product(*part) for part in parts))
    assert scores["spearman"] == pytest.approx(scipy.stats.spearmanr(a, b)[0], abs=1e-6)


def test_a_panel_shows_means_and_quantiles_of_the_difference():
    generator = np.random.default_rng(9)
    a, b = generator.random((2, 20_000), np.float32)
    a[:50], b[30:90] = np.nan, np.nan
    edges = ColumnSums.of(a, b).edges
    assert edges[[0, -1]].tolist() == [0, 1]
    parts = zip(np.array_split(a, 3), np.array_split(b, 3), strict=True)
    panel = reduce(Panel.plus, [Panel.of(*part, edges) for part in parts])
    frame = pd.DataFrame({"a": a, "b": b}, dtype=float).dropna()
    counts = pd.crosstab(pd.cut(frame.a, edges), pd.cut(frame.b, edges)).to_numpy()
    assert panel.counts.tolist() == counts.tolist()
    bins = (frame.a - frame.b).groupby(np.floor(frame.a * 10).clip(upper=9))
    middles, means, low, high = panel.bias(edges)
    assert middles == pytest.approx(np.arange(0.05, 1, 0.1))
    assert means == pytest.approx(bins.mean().to_numpy(), abs=1e-9)
    assert low == pytest.approx(bins.quantile(0.16).to_numpy(), abs=1e-3)
    assert high == pytest.approx(bins.quantile(0.84).to_numpy(), abs=1e-3)


def test_the_same_answer_is_the_same_largest_fraction():
    generator = np.random.default_rng(3)
    a, b = generator.dirichlet([1, 1, 1], (2, 500)).astype(np.float32)
    b = np.where(generator.random((500, 1)) < 0.5, a, b)
    a[:40, 1], b[20:60, 2], a[60:70] = np.nan, np.nan, 0
    parts = zip(np.array_split(a, 2), np.array_split(b, 2), strict=True)
    scores = question_scores(sum(count_answers([*one.T], [*other.T]) for one, other in parts))
    one, other = pd.DataFrame(a)[70:].idxmax(axis=1), pd.DataFrame(b)[70:].idxmax(axis=1)
    assert scores["n"] == 430
    assert scores["agreement"] == pytest.approx((one == other).mean())
    table = pd.crosstab(one, other, normalize=True).to_numpy()
    chance = table.sum(axis=0) @ table.sum(axis=1)
    assert scores["kappa"] == pytest.approx((np.trace(table) - chance) / (1 - chance))
    assert scores["kappa"] == pytest.approx(cohen_kappa_score(one, other))


@pytest.mark.parametrize(
    ("a", "b", "scores"),
    [
        ([[0.4]], [[0.6]], (1, None, None)),
        ([[0.4], [np.nan]], [[0.4], [0.6]], (0, None, None)),
        ([[0.4], [0.6]], [[0.1], [0.9]], (1, 1.0, None)),
        ([[0.5], [0.5]], [[0.1], [0.9]], (1, 0.0, 0.0)),
    ],
)
def test_what_cannot_be_scored_is_none(a, b, scores):
    found = question_scores(count_answers(*(np.array(side, np.float32) for side in (a, b))))
    assert tuple(found.values()) == scores


# Matches


@pytest.mark.parametrize(
    "kinds",
    [
        ("catalogue", "catalogue"),
        ("tiled", "catalogue"),
        ("catalogue", "tiled"),
        ("tiled", "tiled"),
    ],
)
def test_identifiers_match_as_pandas_merges(request, kinds):
    generator = np.random.default_rng(4)
    ids = [generator.choice(3000, 1000, replace=False) for _ in "ab"]
    # Nobody lies where its counterpart does.
    sky = generator.uniform(0, 60, (4, 1000))
    make_a, make_b = (request.getfixturevalue(kind) for kind in kinds)
    a = make_a({"object_id": ids[0], "ra": sky[0], "dec": sky[1]})
    # Whole numbers and text are the same identifiers.
    b = make_b({"dr8_id": ids[1].astype(str), "ra": sky[2], "dec": sky[3]}, "b")
    found = match_ids(a, b, HERE)
    both = sorted(set(ids[0].tolist()) & set(ids[1].tolist()))
    assert matched(found, a, b) == [(number, number) for number in both]
    assert found.galaxies == (1000, 1000)
    assert found.how == "by object_id = dr8_id"


def test_an_identifier_in_two_tiles_is_refused(tiled):
    ids = np.arange(400)
    ids[390] = 7
    sky = np.linspace(0, 80, 400)
    a = tiled({"object_id": ids.astype(str), "ra": sky, "dec": sky})
    with pytest.raises(UserError, match=r"object_id '7' is given twice, in Npix=\d+ and Npix=\d+;"):
        match_ids(a, a, HERE)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["x", "y", "x", "z", "y"], r"b.parquet: row 3: object_id 'x' was already given in row 1;"),
        (["x", None], r"row 2: object_id is empty"),
        ([1.0, 2.0], r"object_id holds decimal numbers"),
        (["p", "q"], r"no galaxy is in both.*e.g. 'x'.*e.g. 'p'.*--sky 1arcsec"),
        (pa.array([], pa.string()), r"no galaxy is in both.*no galaxy"),
    ],
)
def test_identifiers_that_do_not_serve_are_refused(catalogue, ids, message):
    place = pa.array([1.0] * len(ids), pa.float64())
    a = catalogue({"object_id": ["x"], "ra": [1.0], "dec": [1.0]})
    with pytest.raises(UserError, match=message):
        match_ids(a, catalogue({"object_id": ids, "ra": place, "dec": place}, "b"), HERE)


def test_another_column_may_identify(catalogue):
    plain = {"ra": [1.0, 2.0], "dec": [1.0, 2.0], "survey_id": ["s", "t"]}
    a = catalogue({"object_id": ["x", "y"], **plain})
    b = catalogue({"object_id": ["p", "q"], **plain}, "b")
    assert match_ids(a, b, HERE, "survey_id").matched == 2
    with pytest.raises(UserError, match=r"unknown column 'surveyid'; allowed: .*survey_id"):
        match_ids(a, b, HERE, "surveyid")


def hard_places(generator, n=400):
    """Where matches go wrong: right ascension 0, the poles, borders of HEALPix tiles."""
    near = generator.normal(0, 3 / 3600, (6, n))
    ra = generator.uniform(0, 360, (4, n))
    # Base tiles meet at right ascensions of 90 degrees' steps, and at sin(dec) = 2/3.
    corner = np.degrees(np.arcsin(2 / 3))
    ras = [near[0], ra[0], ra[1], 90 * generator.integers(0, 4, n) + near[1]]
    decs = [generator.uniform(-80, 80, n), 90 - abs(near[2]), -90 + abs(near[3]), corner + near[4]]
    ras += [45 + near[5], ra[2]]
    decs += [near[4], np.degrees(np.arcsin(generator.uniform(-1, 1, n)))]
    return np.concatenate(ras) % 360, np.concatenate(decs)


@pytest.mark.parametrize(
    "kinds",
    [
        ("catalogue", "catalogue"),
        ("tiled", "tiled"),
        ("tiled", "catalogue"),
        ("catalogue", "tiled"),
    ],
)
@pytest.mark.parametrize("radius", [0.7, 2.5])
def test_positions_match_as_astropy_says(request, kinds, radius):
    generator = np.random.default_rng(5)
    ra, dec = hard_places(generator)
    sky = SkyCoord(ra, dec, unit="deg")
    moved = sky.directional_offset_by(
        generator.uniform(0, 360, len(ra)) * u.deg, generator.uniform(0, 1.5, len(ra)) * u.arcsec
    )[generator.permutation(len(ra))[: len(ra) * 4 // 5]]
    number = [np.arange(len(side)) for side in (sky, moved)]
    make_a, make_b = (request.getfixturevalue(kind) for kind in kinds)
    a = make_a({"object_id": number[0], "ra": ra, "dec": dec})
    b = make_b({"object_id": number[1], "ra": moved.ra.deg, "dec": moved.dec.deg}, "b")
    found = match_positions(a, b, HERE, radius)
    nearest, separation, _ = sky.match_to_catalog_sky(moved)
    wanted = pd.DataFrame({"a": number[0], "b": nearest, "arcsec": separation.arcsec})
    wanted = wanted[wanted.arcsec <= radius]
    kept = wanted.sort_values(["arcsec", "a"]).drop_duplicates("b").sort_values("a")
    assert matched(found, a, b) == list(zip(kept.a, kept.b, strict=True))
    assert found.doubles == len(wanted) - len(kept) > 10
    assert found.median_separation_arcsec == pytest.approx(kept.arcsec.median(), abs=1e-6)


def test_a_match_across_a_border_beyond_which_b_is_empty_is_found(tiled):
    # Around the poles base tiles meet at right ascensions of 90 degrees' steps.
    step = 0.1 / 3600
    others = {"ra": np.linspace(200, 250, 300), "dec": np.linspace(-60, 10, 300)}
    sides = [
        {"object_id": np.arange(301), **{name: [one, *others[name]] for name, one in first.items()}}
        for first in ({"ra": 90 - step, "dec": 60.0}, {"ra": 90 + step, "dec": 60.0})
    ]
    sides[1]["dec"] = [60.0, *(others["dec"] + 1)]
    a, b = tiled(sides[0]), tiled(sides[1], "b")
    assert healpix_pixels(np.array([90 - step, 90 + step]), np.full(2, 60.0), 0).tolist() == [0, 1]
    assert matched(match_positions(a, b, HERE, 1.0), a, b) == [(0, 0)]


def test_of_two_galaxies_with_one_counterpart_the_nearest_is_kept(catalogue):
    a = catalogue({"object_id": [1, 2], "ra": [10 + 1 / 3600, 10.0], "dec": [0.0, 0.0]})
    b = catalogue({"object_id": [3], "ra": [10 + 0.3 / 3600], "dec": [0.0]}, "b")
    found = match_positions(a, b, HERE, 1.0)
    assert (matched(found, a, b), found.doubles) == ([(2, 3)], 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"object_id": ["p"], "ra": [200.0]}, "no two galaxies within 1 arcsec"),
        ({"object_id": ["p"], "ra": [361.0]}, "row 1: ra is 361; allowed: 0 to 360"),
        ({"object_id": ["p"], "ra": [None]}, "row 1: ra is nan; allowed"),
        ({"object_id": ["p", "p"], "ra": [1.0, 2.0]}, "object_id 'p' was already given in row 1"),
        ({"object_id": pa.array([], "string"), "ra": pa.array([], "double")}, "no two galaxies"),
    ],
)
def test_positions_that_do_not_serve_are_refused(catalogue, columns, message):
    columns["ra"] = pa.array(columns["ra"], pa.float64())
    a = catalogue({"object_id": ["x"], "ra": [10.0], "dec": [0.0]})
    b = catalogue({**columns, "dec": pa.array([0.0] * len(columns["ra"]), pa.float64())}, "b")
    with pytest.raises(UserError, match=message):
        match_positions(a, b, HERE, 1.0)


# Fractions


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.2, 80.0, 55.0], r"row 2: bar_yes_fraction is 80 \(2 of 3 rows are so\).*by 100"),
        ([0.2, 0.3, -1.0], r"row 3: bar_yes_fraction is -1 \(1 of 3 rows are so\).*leave empty"),
        ([-9999.0, 80.0, 0.5], r"row 1: bar_yes_fraction is -9999 \(2 of 3"),
    ],
)
def test_percentages_and_numbers_for_none_are_no_fractions(catalogue, values, message):
    column = {"bar_yes_fraction": values}
    a = catalogue({"object_id": ["x", "y", "z"], "ra": values, "dec": values, **column})
    with pytest.raises(UserError, match=message):
        HERE.gather(a.numbers(["bar_yes_fraction"], fractions=True))
    (found,) = HERE.gather(a.numbers(["ra"]))
    assert found["ra"].tolist() == np.float32(values).tolist()


def test_fractions_may_be_absent_and_rounded(catalogue):
    column = {"bar_yes_fraction": [0.0, None, float("nan"), 1.0000001]}
    a = catalogue({"object_id": ["w", "x", "y", "z"], "ra": [1.0] * 4, "dec": [1.0] * 4, **column})
    (found,) = HERE.gather(a.numbers(["bar_yes_fraction"], fractions=True))
    assert np.isnan(found["bar_yes_fraction"]).tolist() == [False, True, True, False]
