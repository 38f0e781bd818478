"""Two surveys are one domain where recipe, seeing, depth and pixels are alike; else by name."""

import pytest

from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.images.domains import Sight, alike, differences, domain
from galaxymill.images.settings import DecalsSettings, PassthroughSettings

SEEN = {
    "seeing": {"g": 1.3, "r": 1.2, "z": 1.1},
    "depth": {"g": 24.7, "r": 23.9, "z": 23.0},
    "pixel_scale": 0.262,
    "size": 256,
}


def seen(name="far", recipe="decals", settings=None, **changes):
    """A domain of a survey that shows the sky as ``SEEN``, with changes."""
    sight = Sight(**{**SEEN, **changes})
    return domain(name, recipe, settings or DecalsSettings(), sight)


def with_band(key, band, value):
    return {key: {**SEEN[key], band: value}}


def says(one, other):
    return differences(one, other, "{}: model {!r}, images {!r}")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (with_band("seeing", "r", 1.32), ""),
        (
            with_band("seeing", "r", 1.8),
            "seeing in r (arcsec; 50 % apart, at most 10 %): model 1.2, images 1.8",
        ),
        (with_band("seeing", "r", 1.2 / 1.1), ""),
        (
            with_band("seeing", "r", 1.08),
            "seeing in r (arcsec; 11.1 % apart, at most 10 %): model 1.2, images 1.08",
        ),
        (with_band("depth", "z", 22.75), ""),
        (
            with_band("depth", "z", 22.7),
            "depth in z (mag; 0.30 apart, at most 0.25): model 23.0, images 22.7",
        ),
        ({"pixel_scale": 0.2751}, ""),
        (
            {"pixel_scale": 0.396},
            "pixel scale (arcsec; 51.1 % apart, at most 5 %): model 0.262, images 0.396",
        ),
        (
            {"size": 128},
            "width of a cutout (pixels; 100 % apart, at most 5 %): model 256, images 128",
        ),
        ({"seeing": {"g": 1.3, "r": 1.2}}, "seeing in z: model 1.1, images 'unknown'"),
        ({"depth": {}}, "depth in z: model 23.0, images 'unknown'; depth in r: model 23.9"),
        ({"pixel_scale": 0}, "pixel scale: model 0.262, images 'unknown'"),
        ({"pixel_scale": "gz_decals"}, "pixel scale: model 0.262, images 'gz_decals'"),
    ],
)
def test_what_is_seen_decides_and_says_by_how_much(changes, told):
    near, far = seen("near"), seen("far", **changes)
    assert alike(near, far) == alike(far, near) == (not told)
    assert told in says(near, far)
    assert "survey" not in says(near, far)


def test_a_band_that_is_not_drawn_does_not_count():
    two = DecalsSettings(red="r", green="r", blue="g")
    worse = with_band("seeing", "z", 3.0)
    assert alike(seen("near", settings=two), seen(settings=two, **worse))
    assert not alike(seen("near"), seen(**worse))


def test_the_recipe_and_its_settings_must_agree():
    assert "size: model 424, images 300" in says(seen(), seen(settings=DecalsSettings(size=300)))
    assert not alike(seen(), seen(recipe="lupton"))


def test_pixels_by_the_galaxy_s_size_are_like_each_other():
    by_size = seen("near", pixel_scale="gz_decals")
    assert alike(by_size, seen(pixel_scale="gz_decals"))
    assert not alike(by_size, seen(pixel_scale="gz_decals", size=424))


def test_pictures_are_compared_in_the_bands_that_are_known():
    served = PassthroughSettings()
    near = seen("near", "passthrough", served)
    assert alike(near, seen("far", "passthrough", served))
    nothing = {"seeing": {}, "depth": {}}
    dark = seen("near", "passthrough", served, **nothing)
    assert "seeing in any band" in says(dark, seen("far", "passthrough", served, **nothing))
    assert alike(dark, dark)


def test_without_both_telescopes_names_decide_as_before():
    plain = domain("near", "decals", DecalsSettings())
    assert "sight" not in plain
    assert alike(plain, seen("near"))
    assert not alike(plain, seen("far"))
    assert says(plain, seen("far")) == "survey: model 'near', images 'far'"
    shared = DecalsSettings(origin="one sky")
    assert alike(domain("near", "decals", shared), domain("far", "decals", shared))


def test_a_damaged_domain_of_somebody_s_model_is_a_message():
    with pytest.raises(UserError, match=r"sight: seeing\.g: .*greater than 0"):
        alike(seen("near"), {**seen(), "sight": {**SEEN, "seeing": {"g": -1}}})
    with pytest.raises(UserError, match="sight: pixel_scale: this key is required"):
        alike(seen("near"), {**seen(), "sight": {"seeing": {}}})


CONFIG = {
    "surveys": {
        "deep": {
            "catalog": {"path": "galaxies.csv"},
            "cutouts": {"service": "legacy", "pixel_scale": 0.2},
            "images": {"recipe": "decals"},
            "telescope": {
                "seeing": {"g": 0.8, "r": 0.8, "z": 0.8},
                "depth": {"g": 26.0, "r": 25.5, "z": 24.5},
            },
        },
        "shallow": {
            "catalog": {"path": "galaxies.csv"},
            "cutouts": {"service": "legacy", "pixel_scale": 0.4, "size": 128},
            "images": {"recipe": "decals"},
            "telescope": {
                "seeing": {"g": 1.4, "r": 1.3, "z": 1.2},
                "depth": {"g": 23.2, "r": 22.6, "z": 21.5},
            },
        },
        "deep_as_shallow": {
            "cutouts": {
                "service": "observed",
                "survey": "deep",
                "seeing": {"g": 1.4, "r": 1.3, "z": 1.2},
                "depth": {"g": 23.2, "r": 22.6, "z": 21.6},
                "pixel_scale": 0.4,
            },
            "images": {"recipe": "decals"},
        },
    },
    "labels": {
        "votes": {"votes": "votes.csv", "tree": "decals_dr5", "images": {"survey": "deep"}},
        "moved": {
            "votes": "votes.csv",
            "tree": "decals_dr5",
            "images": {"survey": "deep_as_shallow"},
        },
    },
    "models": {
        "near": {"labels": "votes", "train": {"encoder": "resnet18"}},
        "moved": {"labels": "moved", "train": {"encoder": "resnet18"}},
    },
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("galaxies.csv", "votes.csv"):
        (tmp_path / name).touch()
    return tmp_path


def loaded(trees, model):
    prediction = {"survey": "shallow", "model": model}
    return load_config({**CONFIG, "predictions": {"said": prediction}}, "mine.yaml", trees)


def test_a_model_of_images_drawn_as_a_survey_serves_it(files, trees):
    config = loaded(trees, "moved")
    assert config.label_domain("moved") != config.survey_domain("shallow")
    with pytest.raises(UserError) as refused:
        loaded(trees, "near")
    message = str(refused.value)
    assert "seeing in r (arcsec; 62.5 % apart, at most 10 %): model 0.8, survey 1.3" in message
    assert "depth in g (mag; 2.80 apart, at most 0.25): model 26.0, survey 23.2" in message
    assert "service observed" in message


def test_flags_of_images_are_as_ever_without_a_telescope(files, trees):
    config = loaded(trees, "moved")
    bare = config.surveys["deep"].model_copy(update={"telescope": None})
    config.surveys["bare"] = bare
    assert config.image_flags("bare") == bare.images.to_flags()
    assert config.survey_domain("bare") == domain("bare", "decals", DecalsSettings())
    assert "--sight pixel_scale=0.4 --sight 'seeing=" in config.image_flags("deep_as_shallow")
    assert config.survey_domain("deep_as_shallow")["sight"]["size"] == 128
