"""From ratings to what is expected of every galaxy, and to the page, by commands."""

import csv
import importlib.util
import json
import logging
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from typer.testing import CliRunner

from galaxymill import flags
from galaxymill.cli import app
from galaxymill.errors import UserError
from galaxymill.interest import process, rate
from galaxymill.interest.store import read_interest
from galaxymill.paths import fill
from galaxymill.spaces.space import as_matrix, read_space
from galaxymill.storage.origin import read_record

SPEC = importlib.util.spec_from_file_location("found", Path(__file__).with_name("test_find.py"))
found = importlib.util.module_from_spec(SPEC)
sys.modules["found"] = found
SPEC.loader.exec_module(found)

COLUMNS = ["interest_odd", "interest_odd_std", "interest_odd_score"]
ANN = [(f"kind{kind}-{part}-{row}", 5 - 2 * kind) for part, row, kind in
       [(0, 1, 0), (0, 22, 1), (0, 44, 2), (1, 4, 0), (1, 23, 1), (1, 45, 2)]]  # fmt: skip
BOB = [(name, min(rating + 1, 5)) for name, rating in ANN[:3]] + [("kind2-2-50", 2)]


def call(*words):
    done = CliRunner().invoke(app, list(map(str, words)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output


def write_ratings(path, **by_rater):
    rows = [(name, rating, who) for who, own in by_rater.items() for name, rating in own]
    lines = "".join(f"{name},{rating},{who}\n" for name, rating, who in rows)
    path.write_text(f"object_id,rating,rater\n{lines}")
    return path


def fit(results, *ratings):
    listed = fill("<features>/features.csv", results, space="dr1")
    listed.write_text("part\n" + "".join(f"{part}\n" for part in found.PARTS))
    space = fill("<space>/space.yaml", results, space="dr1")
    out = fill("<interest>/interest.yaml", results, interest="odd")
    named = [word for path in ratings for word in ("--ratings", path)]
    call("fit-interest", out, *named, "--features", listed, "--space", space)
    return out


def rate_all(results, interest):
    for part in found.PARTS:
        features = fill(f"<features>/{part}.parquet", results, space="dr1")
        out = fill(f"<rated>/{part}.parquet", results, interest="odd")
        call("rate-partition", features, "--interest", interest, "--out", out)


def report(results, interest, *ratings):
    out = fill("<interesting>/report.html", results, interest="odd")
    rated = fill("<rated>", results, interest="odd")
    space = fill("<space>/space.yaml", results, space="dr1")
    named = [word for path in ratings for word in ("--ratings", path)]
    call(
        *("report-interest", out, *named, "--interest", interest),
        *("--rated", rated, "--space", space),
    )
    return out


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    found.project_all(folder, found.fit(folder, found.write_survey(folder)))
    return folder


@pytest.fixture(scope="module")
def results(survey):
    ratings = write_ratings(survey / "ratings.csv", ann=ANN, bob=BOB)
    interest = fit(survey, ratings)
    rate_all(survey, interest)
    report(survey, interest, ratings)
    return survey


def rated(results, part, *columns):
    path = fill(f"<rated>/{part}.parquet", results, interest="odd")
    return pq.read_table(path, columns=list(columns) or None)


def features_of(results, part):
    return pq.read_table(fill(f"<features>/{part}.parquet", results, space="dr1"))


def test_every_galaxy_has_the_rating_that_scikit_learn_expects(results):
    fitted, _ = read_interest(fill("<interest>/interest.yaml", results, interest="odd"))
    space, _ = read_space(fill("<space>/space.yaml", results, space="dr1"))
    given = {}
    for name, rating in ANN + BOB:
        given.setdefault(name, []).append(rating)
    scale = process.feature_scale(space.deviations)
    ways = {}
    for part in found.PARTS:
        table = features_of(results, part)
        directions = process.directions(as_matrix(table["features"]), scale).astype(float)
        there = table["features"].is_valid().to_numpy()
        rows = zip(table["object_id"].to_pylist(), directions, there, strict=True)
        ways |= {name: way for name, way, known in rows if known}
    known = sorted(given.keys() & ways.keys())
    means = np.array([np.mean(given[name]) for name in known])
    ours = fitted.process
    kernel = ConstantKernel(ours.variance) * Matern(ours.length, nu=1.5) + WhiteKernel(ours.noise)
    oracle = GaussianProcessRegressor(kernel, optimizer=None)
    oracle.fit([ways[name] for name in known], (means - means.mean()) / means.std())
    expected = oracle.predict(list(ways.values())) * means.std() + means.mean()
    told = {}
    for part in found.PARTS:
        table = rated(results, part)
        told |= dict(zip(*(table[c].to_pylist() for c in ("object_id", COLUMNS[0])), strict=True))
    np.testing.assert_allclose([told[name] for name in ways], expected, atol=5e-3)
    assert {name for name, value in told.items() if value is None} == told.keys() - ways.keys()
    assert told["kind0-2-3"] > told["kind1-2-24"] > told["kind2-2-44"]


def test_rows_are_those_of_the_features_and_none_says_nothing(results):
    for part in found.PARTS:
        ours, theirs = rated(results, part), features_of(results, part)
        for column in ("object_id", "flags"):
            assert ours[column].equals(theirs[column])
        for column in COLUMNS:
            assert ours[column].is_null().equals(theirs["features"].is_null())
    names = flags.names(rated(results, found.PARTS[1], "flags")["flags"][0].as_py())
    assert "no_features" in names


def test_the_same_whatever_is_read_at_once_and_again(results, monkeypatch):
    interest = fill("<interest>/interest.yaml", results, interest="odd")
    before = [read_record(path).digest for path in _parts(results)]
    assert fit(results, results / "ratings.csv") == interest
    assert read_interest(interest)[0].facts["raters"] == {"ann": 6, "bob": 4}
    monkeypatch.setattr(rate, "_ROWS", 7)
    for path in _parts(results):
        path.unlink()
    rate_all(results, interest)
    assert [read_record(path).digest for path in _parts(results)] == before


def _parts(results):
    return [fill(f"<rated>/{part}.parquet", results, interest="odd") for part in found.PARTS]


def test_the_page_says_what_was_found_and_who_agrees(results):
    folder = fill("<interesting>", results, interest="odd")
    page = (folder / "report.html").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    values = np.concatenate([rated(results, p, COLUMNS[0])[COLUMNS[0]].to_numpy() for p in
                             found.PARTS])  # fmt: skip
    assert metrics["galaxies"] == len(values)
    assert metrics["expected_to_be_liked"] == (values >= 4).sum()
    best = list(csv.DictReader((folder / "best.csv").open()))
    expected = np.sort(values[np.isfinite(values)])[::-1][:100]
    np.testing.assert_allclose([float(row["expected"]) for row in best], expected, atol=1e-5)
    assert {row["object_id"]: row["rated"] for row in best}["kind0-0-1"] == "5.0"
    (pair,) = csv.DictReader((folder / "agreement.csv").open())
    first, second = (dict(one) for one in (ANN, BOB))
    both = sorted(first.keys() & second.keys())
    assert int(pair["galaxies"]) == len(both) == 3
    ranks = spearmanr([first[name] for name in both], [second[name] for name in both])
    assert float(pair["correlation"]) == pytest.approx(ranks.statistic)
    likes = list(csv.DictReader((folder / "likes.csv").open()))
    assert {row["rater"] for row in likes} == {"ann", "bob"}
    assert all(row["object_id"].startswith("kind0") for row in likes if row["rater"] == "ann")
    assert "What each rater likes" in page
    assert page.count("<img") == 4  # found, the best, and the likes of two


def test_a_page_without_images(results, tmp_path):
    images = fill("<images>", results, survey="field")
    images.rename(tmp_path / "away")
    try:
        interest = fill("<interest>/interest.yaml", results, interest="odd")
        page = report(results, interest, results / "ratings.csv").read_text()
    finally:
        (tmp_path / "away").rename(images)
    assert page.count("<img") == 1
    assert "kind0-0-1" in page


def test_ratings_of_strangers_are_named_and_left_out(survey, tmp_path, caplog):
    ratings = write_ratings(tmp_path / "r.csv", ann=[*ANN, ("stranger", 5), ("kind0-0-0", 5)])
    caplog.set_level(logging.INFO, "galaxymill")
    interest = fit(survey, ratings)
    told = "2 of 8 rated galaxies are not of this survey or have no features, and are left out: "
    assert f"{told}'kind0-0-0', 'stranger'" in caplog.text
    facts = read_interest(interest)[0].facts
    assert (facts["rated"], facts["without_features"], facts["learned_from"]) == (8, 2, 6)
    with pytest.raises(UserError, match=r"none of the 1 rated galaxies has .*e\.g\. 'stranger'"):
        fit(survey, write_ratings(tmp_path / "no.csv", ann=[("stranger", 5)]))


@pytest.mark.parametrize("given", [ANN[:1], [(name, 3) for name, _ in ANN]])
def test_ratings_that_are_all_alike_give_the_distance_and_say_so(survey, tmp_path, caplog, given):
    caplog.set_level(logging.INFO, "galaxymill")
    ratings = write_ratings(tmp_path / "r.csv", ann=given)
    interest = fit(survey, ratings)
    assert f"all ratings are {given[0][1]}, so that nothing tells galaxies apart" in caplog.text
    rate_all(survey, interest)
    mean, deviation = (np.concatenate([rated(survey, p, c)[c].to_numpy() for p in found.PARTS])
                       for c in COLUMNS[:2])  # fmt: skip
    assert set(mean[np.isfinite(mean)]) == {given[0][1]}
    assert np.nanmin(deviation) < 1e-3 < np.nanmax(deviation)
    page = report(survey, interest, ratings).read_text()
    assert "All ratings are alike" in page


def test_of_too_many_ratings_some_are_learned_and_it_says_so(survey, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(process, "MOST", 4)
    monkeypatch.setattr("galaxymill.interest.fit.MOST", 4)
    monkeypatch.setattr("galaxymill.interest.store.MOST", 4)
    caplog.set_level(logging.INFO, "galaxymill")
    interest = fit(survey, write_ratings(tmp_path / "r.csv", ann=ANN))
    assert "6 galaxies are rated; it learns from the 4 that cover the others best" in caplog.text
    assert len(read_interest(interest)[0].process.points) == 4


def test_no_ratings_say_how_to_give_some(survey, tmp_path):
    with pytest.raises(UserError, match=r"absent.csv: no such file; .*galaxymill rate odd"):
        fit(survey, tmp_path / "absent.csv")
    with pytest.raises(UserError, match=r"r.csv: no ratings; .*galaxymill rate odd"):
        fit(survey, write_ratings(tmp_path / "r.csv"))


def test_what_is_of_another_space_or_interest_is_refused(results, tmp_path):
    interest = fill("<interest>/interest.yaml", results, interest="odd")
    other = tmp_path / "results"
    found.project_all(other, found.fit(other, found.write_survey(other), components=5))
    features = fill(f"<features>/{found.PARTS[0]}.parquet", other, space="dr1")
    with pytest.raises(UserError, match="is meant; project this partition again"):
        call("rate-partition", features, "--interest", interest, "--out", tmp_path / "o.parquet")
    newer = fit(results, write_ratings(tmp_path / "r.csv", ann=ANN[:4]))
    with pytest.raises(UserError, match="rated by another interest than"):
        report(results, newer, tmp_path / "r.csv")


@pytest.mark.parametrize("damage", ["cut", "weights", "card", "shape"])
def test_a_damaged_interest_is_refused(survey, tmp_path, damage):
    interest = fit(survey, write_ratings(tmp_path / "r.csv", ann=ANN))
    text, weights = interest.read_text(), interest.parent / "weights.safetensors"
    if damage == "cut":
        interest.write_text(text[:40])
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-8] + b"12345678")
    elif damage == "card":
        interest.write_text("a: b\n")
    else:
        interest.write_text(text.replace("deviation: ", "deviation: 0 #"))
    with pytest.raises(UserError, match=r"interest\.yaml|weights\.safetensors"):
        read_interest(interest)
