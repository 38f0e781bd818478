"""Detectability as a stage and in a release: real files, and those that cannot be used."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from made_survey import DOMAIN, TASK, TREE, Survey, draw_objects, is_unfit, predicted

from galaxymill import flags, products
from galaxymill.catalog.partition import read_partitions
from galaxymill.cli import main
from galaxymill.detectability.covariates import View, covariates
from galaxymill.detectability.fit import Far, Request, fit_detectability
from galaxymill.detectability.read import near_of_labels
from galaxymill.detectability.settings import DetectabilitySettings
from galaxymill.errors import UserError
from galaxymill.release.merge import Request as ReleaseRequest
from galaxymill.release.merge import merge_release
from galaxymill.release.settings import ReleaseSettings
from galaxymill.splits import SplitSettings, assign_splits
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

FEATURED, BAR = "smooth-or-featured_featured", "bar_yes"
NEAR = View(seeing=1.2, depth=23.9)
VIEWS = [NEAR.model_copy(update={"farther": times}) for times in (1.5, 2.5)]
GALAXIES = 500


def share(own):
    """What is still seen of featured galaxies."""
    return np.clip(0.3 + 0.4 * own[:, 0], 0.02, 1)


def objects():
    """Galaxies with a radius and a magnitude, but for a few; redshifts in a column of texts too."""
    table = draw_objects(0, GALAXIES, 30, 5)
    rng = np.random.default_rng(4)
    radii, magnitudes = rng.uniform(1.5, 6, GALAXIES), rng.uniform(15, 18, GALAXIES)
    radii[:3] = np.nan, 0, -2
    table = table.set_column(4, table.schema.field("petro_r50"), pa.array(radii))
    kept = table.schema.field("mag_r")
    table = table.set_column(6, kept, pa.array(magnitudes, pa.float32()))
    z = rng.uniform(0.01, 0.05, GALAXIES)
    for name, values in (("z", z), ("bad_z", -z), ("name", [f"{one:.3f}" for one in z])):
        table = table.append_column(name, pa.array(values))
    return table


def say(survey, folder, fractions, task=TASK, stage="predict"):
    """Write a prediction of every galaxy of a survey, with these fractions of featured."""
    schema = products.predictions(task, 3)
    for part in survey.parts:
        rows = []
        for one in pq.read_table(survey.path("tiles", part))["object_id"].to_pylist():
            row = predicted(one, 0, np.random.default_rng(int(one[1:])))
            row |= {
                f"{FEATURED}_fraction": fractions[one],
                "smooth-or-featured_smooth_fraction": 1 - fractions[one],
            }
            gone = {"object_id": one, "flags": flags.BITS["no_coverage"]}
            rows.append(gone if is_unfit(one) else row)
        inputs = {"images": read_record(survey.path("images", part)).digest, "model": "m"}
        table = pa.Table.from_pylist(rows, schema)
        write_product(folder / f"{part}.parquet", table, Origin(stage, {}, inputs, DOMAIN), schema)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    made = Survey(tmp_path_factory.mktemp("survey"))
    made.add(objects(), per_partition=200)
    made.parts = [one.part for one in read_partitions(made.partitions)]
    table, rng = pq.read_table(made.catalog / "objects.parquet"), np.random.default_rng(1)
    ids = table["object_id"].to_pylist()
    made.near = dict(zip(ids, rng.uniform(0, 1, GALAXIES).tolist(), strict=True))
    say(made, made.root / "near", made.near)
    columns = [table[name].to_numpy().astype(float) for name in ("petro_r50", "mag_r")]
    for place, view in enumerate(VIEWS):
        kept = share(covariates(columns, None, view))
        far = {
            one: float(made.near[one] * (seen if np.isfinite(seen) else 0))
            for one, seen in zip(ids, kept, strict=True)
        }
        say(made, made.root / f"far{place}", far)
    return made


def request(survey, **given):
    settings = {"magnitude": "mag_r", "answers": (FEATURED, BAR), **given.pop("settings", {})}
    far = [
        Far(survey.root / f"far{place}", survey.partitions, view)
        for place, view in enumerate(given.pop("views", VIEWS))
    ]
    known = {
        "objects": survey.catalog / "objects.parquet",
        "near": survey.root / "near",
        "partitions": survey.partitions,
        "far": far,
        "settings": DetectabilitySettings(**settings),
    }
    return Request(**known | given)


@pytest.fixture(scope="module")
def made(survey):
    out = survey.root / "detectability" / "seen" / "detectability.parquet"
    fit_detectability(request(survey), out)
    return out


def test_the_table_has_the_known_surface_and_the_page_its_plots(survey, made):
    table = pq.read_table(made)
    assert table.schema.equals(products.DETECTABILITY, check_metadata=False)
    assert set(table["answer"].to_pylist()) == {FEATURED, BAR}
    rows = [row for row in table.to_pylist() if row["answer"] == FEATURED]
    known = [row for row in rows if row["detectable"] is not None]
    assert len(known) > len(rows) / 3
    own = np.log([[row["size_fwhm"]] for row in known])
    errors = np.array([row["detectable"] for row in known]) - share(own)
    assert np.sqrt(np.mean(errors**2)) < 0.03
    assert all(row["low"] <= row["detectable"] <= row["high"] for row in known)
    page = (made.parent / "report.html").read_text()
    assert "Detectability: seen" in page
    assert "no K-correction" in page
    assert {"surfaces.png", "curves.svg", "answers.csv"} <= {p.name for p in made.parent.iterdir()}
    metrics = json.loads((made.parent / "metrics.json").read_text())
    row = next(one for one in metrics["answers"] if one["answer"] == FEATURED)
    assert row["worst"] < 0.05
    origin = read_record(made).origin
    assert origin["parameters"]["views"][1] == {"seeing": 1.2, "depth": 23.9, "farther": 2.5}
    assert set(origin["inputs"]) == {"near", "far 1", "far 2", "catalog"}


def test_made_again_it_is_the_same(survey, made, tmp_path):
    out = tmp_path / "seen" / "detectability.parquet"
    fit_detectability(request(survey), out)
    assert read_record(out).digest == read_record(made).digest


def test_volunteers_may_have_answered_near(survey, made, tmp_path):
    ids = list(survey.near)
    yes = np.random.default_rng(2).binomial(40, list(survey.near.values()))
    counts = {name: np.zeros(GALAXIES, np.int32) for name in TREE.columns}
    counts |= {FEATURED: yes, "smooth-or-featured_smooth": 40 - yes, "bar_yes": np.minimum(yes, 1)}
    schema = products.votes(TASK, with_positions=False)
    splits = assign_splits(ids, None, SplitSettings())
    columns = [ids, *(pa.array(counts[name], pa.int32()) for name in TREE.columns), splits]
    votes = tmp_path / "votes.parquet"
    labels = Origin("labels", {"task": TASK.to_dict()})
    write_product(votes, pa.table(columns, schema=schema), labels, schema)
    near = near_of_labels(votes, GALAXIES)
    place = near.answers.index("bar_yes")
    # Of one vote, nothing can be said.
    assert np.isnan(near.fraction[:, place]).all()
    assert near.square[0, 1] == pytest.approx(
        near.fraction[0, 1] * (40 * near.fraction[0, 1] - 1) / 39
    )
    out = tmp_path / "seen" / "detectability.parquet"
    fit_detectability(request(survey, near=votes, partitions=None), out)
    ours, theirs = (pq.read_table(path)["detectable"].to_numpy() for path in (out, made))
    rows = np.array(pq.read_table(out)["answer"].to_pylist()) == FEATURED
    assert np.nanmax(np.abs(ours - theirs)[rows]) < 0.1
    bar = np.array(pq.read_table(out)["answer"].to_pylist()) == BAR
    assert np.isnan(ours[bar]).all()


def test_near_and_far_copies_are_of_one_split(survey):
    tables = [pq.read_table(survey.root / name / f"{survey.parts[0]}.parquet") for name in NAMES]
    near, far = (table["object_id"].to_pylist() for table in tables)
    assert near == far
    split = dict(zip(near, assign_splits(near, None, SplitSettings()), strict=True))
    again = dict(zip(far[::-1], assign_splits(far[::-1], None, SplitSettings()), strict=True))
    assert split == again
    assert len(set(split.values())) == 3


NAMES = ("near", "far0")


def release(survey, detectability, view=NEAR, **given):
    out = survey.root / "releases" / given.pop("name", "dr1") / "SHA256SUMS"
    made = ReleaseRequest(
        name="toy_dr1",
        partitions=survey.partitions,
        objects=survey.catalog / "objects.parquet",
        **{**survey.folders, "predictions": (survey.folders["predictions"],)},
        models=(survey.model,),
        out=out,
        settings=ReleaseSettings(galaxies_per_tile=300, date="2026-01-01", **given),
        detectability=detectability,
        view=json.dumps(view.product_settings()) if view else "",
    )
    merge_release(made)
    return out.parent


def test_a_release_tells_what_is_seen_of_each_galaxy(survey, made):
    cut = {"column": f"{FEATURED}_detectable", "at_least": 0.5}
    clear = {"clear": {"description": "clear", "source": "me", "cuts": [cut]}}
    folder = release(survey, made, selections=clear)
    friendly, advanced = (pq.read_table(folder / f"{n}.parquet") for n in ("friendly", "advanced"))
    name = f"{FEATURED}_detectable"
    assert friendly[name].equals(advanced[name])
    columns = [advanced[one].to_numpy().astype(float) for one in ("petro_r50", "mag_r")]
    own = covariates(columns, None, NEAR)
    found = advanced[name].to_numpy()
    known = np.isfinite(found)
    assert 0.2 < known.mean() < 1
    assert not known[~np.isfinite(own).all(axis=1)].any()
    tried = np.array(pq.read_table(made)["size_fwhm"])
    assert not known[np.exp(own[:, 0]) > tried.max()].any()
    assert np.abs(found - share(own))[known].max() < 0.1
    limited = (advanced["flags"].to_numpy() & flags.BITS["lower_limit"]) > 0
    np.testing.assert_array_equal(limited, known & (found < 0.5))
    assert limited.any()
    np.testing.assert_array_equal(advanced["clear"].to_numpy(), known & (found >= 0.5))
    with (folder / "columns.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows[name]["group"] == "detectability"
    assert "| lower_limit | 1048576 |" in (folder / "README.md").read_text()
    provenance = json.loads((folder / "provenance" / "release.json").read_text())
    digest = sha256_json([read_record(made).digest, {"seeing": 1.2, "depth": 23.9}])
    assert provenance["origin"]["inputs"]["detectability"] == digest


def test_another_depth_is_another_contrast(survey, made):
    deeper = release(survey, made, NEAR.model_copy(update={"depth": 24.4}), name="deeper")
    usual = release(survey, made, name="usual")
    ours, theirs = (pq.read_table(one / "friendly.parquet") for one in (deeper, usual))
    name = f"{FEATURED}_detectable"
    assert not ours[name].is_null().equals(theirs[name].is_null())


def test_a_release_without_a_view_or_the_columns_is_refused(survey, made, tmp_path):
    with pytest.raises(UserError, match="give --view with the seeing and depth"):
        release(survey, made, view=None, name="none")
    other = Survey(tmp_path / "other")
    other.add(draw_objects(0, 100, 30, 5).drop_columns("mag_r"))
    with pytest.raises(UserError, match=r"unknown column of numbers 'mag_r'; allowed: .*keep"):
        release(other, made)
    with pytest.raises(UserError, match="made by ingest; what is needed here is made by detect"):
        release(survey, survey.catalog / "objects.parquet", name="none")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"settings": {"magnitude": "mag_i"}},
            r"objects.parquet: detectability: unknown column of "
            r"numbers 'mag_i'; allowed: .*mag_r.*; name it in the config",
        ),
        ({"settings": {"redshift": "name"}}, "column name holds string, no numbers; give its type"),
        (
            {"settings": {"redshift": "bad_z"}},
            r"detectability: 0 galaxies are known near and far, "
            r"30 are needed; of \d+ copies \d+ have no far prediction, and \d+ lack one of "
            r"petro_r50, mag_r, bad_z in .*objects.parquet \(radii and redshifts are above 0",
        ),
        ({"settings": {"answers": ("bar_maybe",)}}, "answers: unknown answer 'bar_maybe'; allowed"),
        (
            {"views": [NEAR.model_copy(update={"redshift": 0.1})]},
            "numbers 'own_redshift'",
        ),
    ],
)
def test_bad_columns_are_refused_with_a_way_out(survey, tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        fit_detectability(request(survey, **given), tmp_path / "seen" / "detectability.parquet")
    assert not (tmp_path / "seen" / "detectability.parquet").exists()


def test_a_covariate_more_is_taken_from_the_catalogue(survey, tmp_path):
    out = tmp_path / "seen" / "detectability.parquet"
    fit_detectability(request(survey, settings={"redshift": "z"}), out)
    table = pq.read_table(out)
    assert 0 < min(table["redshift"].to_pylist()) < max(table["redshift"].to_pylist()) < 0.15


def test_predictions_of_another_tree_or_of_none_are_refused(survey, tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    for part in survey.parts:
        table = pq.read_table(survey.root / "far0" / f"{part}.parquet")
        odd = [name for name in table.column_names if name.startswith("bar_")]
        for kept, folder in ((table.drop_columns(odd), far), (table.select([0, 1]), tmp_path)):
            origin = Origin("predict", {}, {}, DOMAIN)
            write_product(folder / f"{part}.parquet", kept, origin, kept.schema)
    given = [Far(far, survey.partitions, VIEWS[0])]
    out = tmp_path / "seen" / "detectability.parquet"
    with pytest.raises(UserError, match="far: other answers than near: bar_no, bar_yes; near and"):
        fit_detectability(request(survey, far=given), out)
    with pytest.raises(UserError, match=r"has no columns \*_fraction; detectability is of a tree"):
        fit_detectability(request(survey, near=tmp_path), out)
    with pytest.raises(UserError, match="no such file; run the stage that makes it first"):
        fit_detectability(request(survey, near=tmp_path / "gone"), out)


def test_the_command_tells_users_what_is_wrong(survey, made, tmp_path, monkeypatch, capsys):
    words = ["galaxymill", "detectability", tmp_path / "seen" / "detectability.parquet"]
    words += ["--objects", survey.catalog / "objects.parquet", "--near", survey.root / "near"]
    words += ["--partitions", survey.partitions, "--set", "magnitude=mag_r"]
    far = ["--far", survey.root / "far0", "--far-partitions", survey.partitions]
    view = ["--view", json.dumps(VIEWS[0].product_settings())]

    def run(*more):
        monkeypatch.setattr(sys, "argv", [str(word) for word in (*words, *more)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    assert run(*far, *view, "--set", "size=nothing")[0] == 2
    assert run(*far, *view, *far)[1].startswith("galaxymill: detectability: give --far-partitions")
    code, printed = run(*far, "--view", "{}")
    assert code == 2
    assert "--view: seeing: this key is required" in printed
    assert run(*far, *view)[0] in (0, None)
    assert (tmp_path / "seen" / "report.html").is_file()
