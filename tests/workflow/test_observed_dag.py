"""A survey shown elsewhere, through the workflow: what runs again, what is asked of whom."""

import pyarrow.parquet as pq
import pytest
import yaml

TELESCOPE = {
    "seeing": {"g": 1.3, "r": 1.2, "z": 1.1},
    "depth": {"g": 24.7, "r": 23.9, "z": 23.0},
}
WIDE = {"g": 1.8, "r": 1.7, "z": 1.6}
SHALLOW = {"g": 23.0, "r": 22.3, "z": 21.5}
LIKE_SDSS = {"service": "observed", "survey": "mini", "source": TELESCOPE, "seeing": WIDE}
LIKE_SDSS |= {"depth": SHALLOW}


@pytest.fixture
def config(mini_config, change):
    """The finished survey, and how it would look through a worse telescope."""
    shown = {"cutouts": LIKE_SDSS, "images": {"recipe": "decals", "size": 64}}
    plain = change(mini_config, "surveys.worse", shown)
    labels = {**plain["labels"]["volunteers"], "images": {"survey": "worse"}}
    plain = change(plain, "labels.same", labels)
    return change(plain, "models.fit", {**plain["models"]["mini"], "labels": "same"})


def without_telescope(config):
    """The config where the survey tells nothing of its telescope, so that `source` has to."""
    mini = {key: value for key, value in config["surveys"]["mini"].items() if key != "telescope"}
    return {**config, "surveys": {**config["surveys"], "mini": mini}}


DRAWN = {"fetch_cutouts": 2, "render_images": 2, "list_images": 1}
LEARNED = {"collect_labels": 1, "train_model": 1, "evaluate_model": 1}


def test_another_telescope_of_a_survey(working_copy, config, change):
    mill = working_copy
    catalogued = {"ingest_catalog": 1, "partition_catalog": 1}
    # Nothing of the source runs, and nothing is asked of its server.
    first = mill.dry("images", "results/surveys/worse/catalog/partitions.csv", config=config)
    assert first == {**catalogued, "list_images": 1, "images": 1}
    mill.finish("images", config=config)
    near, far = (mill.files(f"surveys/{name}/cutouts/*.parquet") for name in ("mini", "worse"))
    assert [path.name for path in near] == [path.name for path in far]
    for one, other in zip(near, far, strict=True):
        before, after = (pq.read_table(path).to_pandas() for path in (one, other))
        assert after["object_id"].tolist() == before["object_id"].tolist()
        whole = before["status"] == "ok"
        assert (after.loc[whole, "status"] == "ok").all(), after["reason"].tolist()
        assert (after.loc[before["status"] == "no_coverage", "status"] == "no_coverage").all()
    mill.finish("results/models/fit/model.yaml", config=config)
    target = "results/models/fit/model.yaml"
    assert mill.dry(target, config=config) == {}

    # A changed depth draws that survey anew, and what follows from it.
    deeper = change(config, "surveys.worse.cutouts.depth.r", 22.8)
    again = {**DRAWN, "describe_images": 1, "train_model": 1}
    assert mill.dry(target, config=deeper) == again
    # Images carry the telescope of their survey: when that changes, they are drawn again.
    redrawn = {"render_images": 2, "list_images": 1}
    changed = change(config, "surveys.mini.telescope.depth.r", 23.8)
    assert mill.dry("results/surveys/mini/images.csv", config=changed) == redrawn
    assert mill.dry(target, config=changed) == again
    # Where `source` says the same in its place, what is drawn from the cutouts stays.
    untold = without_telescope(config)
    assert mill.dry("results/surveys/mini/images.csv", config=untold) == redrawn
    assert mill.dry(target, config=untold) == {}


def test_a_partition_needs_only_the_same_one_of_its_source(working_copy, config):
    mill = working_copy
    mill.finish("results/surveys/worse/catalog/partitions.csv", config=config)
    parts = [path.stem for path in mill.files("surveys/mini/cutouts/*.parquet")]
    target = f"results/surveys/worse/cutouts/{parts[0]}.parquet"
    printed = mill.finish("-n", target, config=config)
    assert f"results/surveys/mini/cutouts/{parts[0]}.parquet" in printed
    assert parts[1] not in printed
    # Without the other's pixels.
    (mill.folder / f"results/surveys/mini/cutouts/{parts[1]}.parquet").unlink()
    mill.finish(target, config=config)


REFUSED = {
    "surveys.worse.cutouts.survey": [
        ("nobody", "surveys.worse.cutouts: unknown survey 'nobody'"),
        ("worse", "worse is itself observed"),
    ],
    "surveys.worse.cutouts.seeing.r": [(1.0, "band r: point sources of mini are 1.2 arcsec wide")],
    "surveys.worse.cutouts.depth.r": [(24.5, "band r: mini has a noise of")],
    "surveys.worse.cutouts.farther": [(0.5, "greater than or equal to 1")],
    "surveys.worse.cutouts.redshift": [
        (0.3, "name their column: catalog.own_redshift"),
        (-1, "greater than 0"),
    ],
    "surveys.worse.cutouts.bands": [("g,r,z,i", "mini has no band 'i'; allowed: g,r,z")],
    "surveys.worse.telescope": [(TELESCOPE, "is that of its cutouts")],
    "surveys.worse.partitions": [({"galaxies_per_partition": 7}, "differ from those of mini")],
    "surveys.worse.cutouts.source": [({"seeing": {"g": 1.3}}, "band r: the FWHM of point sources")],
    "surveys.mini.telescope.seeing.u": [(1.0, "no band 'u'; allowed: g, r, z")],
}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(place, *case) for place, cases in REFUSED.items() for case in cases],
)
def test_what_cannot_be_shown_is_refused_before_anything_runs(
    finished, config, change, trees, place, value, message, monkeypatch
):
    from galaxymill.config.files import load_config
    from galaxymill.errors import UserError

    monkeypatch.chdir(finished.folder)
    untold = change(without_telescope(config), place, value)
    plain = yaml.safe_load(yaml.safe_dump(untold))
    with pytest.raises(UserError) as refused:
        load_config(plain, "mine.yaml", trees)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
