"""A release of several predictions: votes, classes and a number side by side."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from galaxymill.catalog.partition import read_partitions
from galaxymill.errors import UserError
from galaxymill.tasks import ClassTask, NumberTask
from galaxymill.trees.tree import parse_tree

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from made_survey import SAMPLES, TREE, Survey, draw_objects, is_unfit


def classes(name, *answers):
    return ClassTask(parse_tree({"name": name, "questions": {name: {"answers": answers}}}, name))


RINGS, ARMS, REDSHIFT = classes("ring", "yes", "no"), classes("arms", "1", "2"), NumberTask("z")
SAID = {"rings": RINGS, "arms": ARMS, "redshift": REDSHIFT}
SCORES = {"support": 61, "precision": 0.9, "recall": 0.8, "f1": 0.847, "roc_auc": 0.95}
OF_CLASSES = {
    "overall": {"accuracy": 0.873, "baselines": {"constant": {"accuracy": 0.512}}},
    "classes": {"yes": SCORES},
}
OF_NUMBER = {"overall": {"n": 77, "rmse": 0.0421, "baselines": {"constant": {"rmse": 0.21}}}}


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    survey = Survey(tmp_path_factory.mktemp("combined") / "work")
    survey.add(draw_objects(0, 120, 180.0, 10.0))
    digests = {name: survey.say(name, task, 4) for name, task in SAID.items()}
    as_predicted = {"posterior": {"samples": 4}}
    metrics = [
        survey.evaluate("rings", OF_CLASSES, digests["rings"], **as_predicted),
        survey.evaluate("redshift", OF_NUMBER, digests["redshift"], **as_predicted),
    ]
    cuts = [
        {"column": "ring_yes_probability", "at_least": 0.5},
        {"column": "z_mean", "at_most": 55},
    ]
    near = {"description": "near rings", "source": "this test", "cuts": cuts}
    return survey, survey.release(metrics=metrics, selections={"near_rings": near})


def table(survey, name, ids):
    """What was predicted, of galaxies in some order."""
    folder = survey.said.get(name, survey.folders["predictions"])
    parts = [folder / f"{part.part}.parquet" for part in read_partitions(survey.partitions)]
    rows = pa.concat_tables(pq.read_table(path) for path in parts).to_pandas()
    return rows.set_index("object_id").loc[ids]


def test_every_column_of_every_prediction_is_joined_by_galaxy(combined):
    survey, folder = combined
    rows = pd.read_parquet(folder / "advanced.parquet").set_index("object_id")
    renamed = {"rings": "rings_probabilities", "arms": "arms_probabilities"}
    seen = set()
    for name in ("toy", *SAID):
        wanted = table(survey, name, rows.index)
        for column in wanted.columns.drop("flags"):
            # Two predictions have samples of this name.
            own = renamed[name] if column == "probabilities" else column
            seen.add(own)
            for value, expected in zip(rows[own], wanted[column], strict=True):
                if expected is None or np.ndim(expected):
                    np.testing.assert_array_equal(value, expected, err_msg=own)
                else:
                    assert value == expected or (np.isnan(value) and np.isnan(expected)), own
    assert {"concentrations", "gaussians", "z_90pc-upper", "arms_2_probability"} <= seen
    both = (rows["ring_yes_probability"] >= 0.5) & (rows["z_mean"] <= 55)
    assert 0 < both.sum() < len(rows)
    assert rows["near_rings"].tolist() == both.tolist()
    assert seen.isdisjoint({"probabilities"})


def test_the_friendly_table_has_what_is_expected_and_no_more(combined):
    _, folder = combined
    friendly = pq.read_table(folder / "friendly.parquet")
    own = ["object_id", "ra", "dec", "petro_r50", "mag_r"]
    fractions = [f"{column}_fraction" for column in TREE.columns]
    expected = ["ring_yes_probability", "ring_no_probability", "arms_1_probability"]
    expected += ["arms_2_probability", "z_mean", "z_std"]
    last = ["status", "flags", "near_rings"]
    assert friendly.column_names == [*own, *fractions, *expected, *last]
    unfit = [is_unfit(name) for name in friendly["object_id"].to_pylist()]
    for name in expected:
        assert friendly[name].is_null().to_pylist() == unfit, name


def test_all_forms_and_documents_have_all_columns(combined):
    import mlcroissant
    from astropy.table import Table

    _, folder = combined
    rows = pq.read_table(folder / "advanced.parquet")
    names = rows.column_names
    flat = [n for n in names if not pa.types.is_fixed_size_list(rows.schema.field(n).type)]
    assert len(names) - len(flat) == 4
    listed = pd.read_csv(folder / "columns.csv", keep_default_na=False).set_index("name")
    assert set(listed.index) == {*names, "_healpix_29"}
    assert (listed["description"] != "").all()
    assert listed.loc["ring_yes_probability", "group"] == "class probabilities"
    assert listed.loc["z_mean", "group"] == "numbers"
    fits = Table.read(folder / "catalog.fits", hdu=1)
    assert fits.colnames == flat
    for name in ("object_id", "ring_no_probability", "z_90pc-lower", "bar_yes_fraction"):
        assert fits[name].tolist() == rows[name].to_pylist(), name
    (tile, *_) = (folder / "hats").rglob("Npix=*.parquet")
    assert set(pq.read_schema(tile).names) == {*flat, "_healpix_29"}
    croissant = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not croissant.metadata.issues.errors
    (advanced,) = (one for one in croissant.metadata.record_sets if one.id == "advanced")
    assert [field.name for field in advanced.fields] == flat
    for name in ("fractions", "examples"):
        with Image.open(folder / "pictures" / f"{name}.png") as picture:
            assert min(picture.size) > 300


def test_the_readme_tells_of_every_prediction(combined):
    survey, folder = combined
    text = (folder / "README.md").read_text()
    for name in ("toy", *SAID):
        assert f"\n## Model of `{name}`\n" in text
        assert f"\n- `{name}`: " in text
    assert "| yes | 61 | 0.900 | 0.800 | 0.847 | 0.950 |" in text
    assert "a share of 0.873" in text
    assert (
        "is off by 0.0421 (root mean square); the mean of the labels would be off by 0.21" in text
    )
    rings = text.split("## Model of `rings`")[1].split("\n## ")[0]
    assert "4 samples (4 of Monte-Carlo dropout" in rings
    assert f"`{survey.card.digest}`" not in rings
    # The votes have not been evaluated.
    assert "Errors of the vote fractions" not in text
    assert "not debiased for redshift" in text
    unfit = sum(is_unfit(f"g{number:05d}") for number in range(120))
    assert f"{120 - unfit:,} have predictions; {unfit} have no usable image" in text


@pytest.fixture
def two(tmp_path):
    survey = Survey(tmp_path / "work")
    survey.add(draw_objects(0, 40, 180.0, 10.0))
    return survey, survey.say("rings", RINGS, 20)


@pytest.mark.parametrize("posterior", [{}, {"samples": 5}, {"samples": 20, "views": 8}])
def test_an_evaluation_of_another_posterior_is_refused(two, posterior):
    survey, digest = two
    metrics = survey.evaluate("rings", OF_CLASSES, digest, posterior)
    with pytest.raises(UserError, match="or samples and views, that no prediction of this rel"):
        survey.release(metrics=[metrics])
    assert not (survey.root / "releases" / "dr1" / "SHA256SUMS").exists()


def test_the_readme_has_the_figures_of_its_own_posterior(two):
    survey, digest = two
    own = survey.evaluate("twenty", OF_CLASSES, digest, {"samples": 20})
    entry = {"n": 9, "rmse": 0.2}
    votes = survey.evaluate("votes", {"questions": {"bar": entry}})
    text = (survey.release(metrics=[votes, own]) / "README.md").read_text()
    assert "a share of 0.873" in text.split("## Model of `rings`")[1]
    assert "| bar | 9 | 0.200 |" in text.split("## Model of `rings`")[0]


def test_figures_of_another_kind_are_refused_before_tables_are_written(two):
    survey, digest = two
    metrics = survey.evaluate("rings", {"classes": [1]}, digest, {"samples": 20})
    with pytest.raises(UserError, match=r"metrics\.json: not the figures of class; run evaluate"):
        survey.release(metrics=[metrics])


def test_two_predictions_of_one_column_are_refused(two):
    survey, _ = two
    survey.say("again", RINGS, SAMPLES)
    with pytest.raises(UserError, match=r"two columns would be called ring_.* predictions apart"):
        survey.release()


def test_a_model_that_predicted_nothing_here_is_refused(two):
    survey, _ = two
    survey.write_model(ARMS, "rings", "a" * 64)
    with pytest.raises(UserError, match=r"rings/model\.yaml is \w{64}; run predict again"):
        survey.release()
