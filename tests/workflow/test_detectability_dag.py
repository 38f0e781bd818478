"""Detectability in the workflow: from the same galaxies farther away to columns of a release."""

import re

import pyarrow.parquet as pq
import pytest

FEATURED = "smooth-or-featured-dr5_featured-or-disk"


@pytest.fixture
def config(mini_config, change):
    """The finished survey, the same 1.5 times as far away, and what is still seen there."""
    cutouts = {"service": "observed", "survey": "mini", "farther": 1.5}
    far = {"cutouts": cutouts, "images": {"recipe": "decals", "size": 64}}
    plain = change(mini_config, "surveys.far", far)
    said = {"survey": "far", "model": "mini", "allow_domain_shift": True}
    plain = change(plain, "predictions.far", said)
    seen = {"labels": "volunteers", "far": "far", "magnitude": "mag_r", "answers": [FEATURED]}
    plain = change(plain, "detectability.seen", seen)
    return change(plain, "releases.mini.detectability", "seen")


RELEASED = {"record_run": 1, "merge_release": 1, "explore_partition": 2, "build_explorer": 1}
FAR = {"fetch_cutouts": 2, "render_images": 2, "predict_partition": 2}


def test_a_changed_far_survey_is_learned_and_released_anew(working_copy, config, change):
    mill = working_copy
    mill.finish(config=config)
    assert mill.dry(config=config) == {}
    name = f"{FEATURED}_detectable"
    (table,) = mill.files("releases/mini/advanced.parquet")
    assert name in pq.read_schema(table).names
    assert f'"{name}"' in (mill.folder / "results/explorers/see/data/explorer.js").read_text()
    (page,) = mill.files("detectability/seen/report.html")
    assert "Detectability: seen" in page.read_text()
    record = (mill.folder / "results/releases/mini/provenance/config.yaml").read_text()
    assert re.search(r"detectability:\n\s+seen:", record)
    assert re.search(r"\n\s+far:\n", record)

    farther = change(config, "surveys.far.cutouts.farther", 2)
    again = mill.dry(config=farther)
    assert again.items() >= {**FAR, "fit_detectability": 1, **RELEASED}.items()
    assert not again.keys() & {"train_model", "evaluate_model", "fit_space", "collect_labels"}
    assert mill.dry(config=change(config, "detectability.seen.lower_limit", 0.4)) == {
        "fit_detectability": 1,
        **RELEASED,
    }
    # Where it changes how galaxies are seen, the release too.
    deeper = change(config, "surveys.mini.telescope.depth.r", 24.0)
    assert mill.dry(config=deeper).items() >= {"fit_detectability": 1, **RELEASED}.items()
