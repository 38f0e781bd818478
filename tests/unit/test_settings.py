"""Settings travel as command-line flags and come back as they were."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.catalog.settings import CatalogSettings
from galaxymill.config.survey import Images, Partitions
from galaxymill.errors import UserError
from galaxymill.images.settings import DecalsSettings, LuptonSettings, RecipeSettings
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.settings import TrainSettings
from galaxymill.simulation.settings import SimulationSettings
from galaxymill.splits import SplitSettings
from galaxymill.surveys.base import ServiceSettings
from galaxymill.surveys.services.files import FilesSettings
from galaxymill.surveys.services.legacy import LegacySettings
from galaxymill.surveys.services.simulated import SimulatedSettings
from galaxymill.web.network import Network

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
LINE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
LETTERS = st.characters(codec="utf-8", exclude_characters=",\x00")
NAMES = st.lists(st.text(LETTERS, min_size=1), max_size=8, unique=True)
POSITIVE = st.floats(1e-9, 1e9)


def maybe(values):
    return st.none() | values


def some(model, **values):
    """Draw settings with any of ``values`` given, the others left at their defaults."""
    return st.fixed_dictionaries({}, optional=values).map(lambda given: model(**given))


RECIPE = {
    "size": st.integers(16, 3000),
    "format": st.sampled_from(["jpeg", "png"]),
    "quality": st.integers(1, 100),
}
COLOURS = {"red": TEXT, "green": TEXT, "blue": TEXT}
SERVICE = {
    "pixel_scale": st.floats(1e-3, 60) | st.just("gz_decals"),
    "size": st.integers(16, 1000),
    "bands": NAMES.filter(bool),
}
RANGE = st.tuples(st.floats(1, 50), st.floats(50, 1000))
SETTINGS = {
    "catalog": some(
        CatalogSettings,
        object_id=TEXT,
        petro_r50=maybe(TEXT),
        file_loc=maybe(NAMES.filter(bool)),
        keep=NAMES,
    ),
    "partitions": some(Partitions, galaxies_per_partition=st.integers(1, 1_000_000)),
    "recipe": some(RecipeSettings, **RECIPE),
    "decals": some(DecalsSettings, **RECIPE, **COLOURS),
    "lupton": some(LuptonSettings, **RECIPE, **COLOURS, stretch=POSITIVE, minimum=st.floats(-9, 9)),
    "predict": some(PredictSettings, samples=st.integers(1, 100), allow_domain_shift=st.booleans()),
    "train": some(
        lambda **given: TrainSettings(encoder="resnet18", **given),
        zoom=st.tuples(st.floats(1, 5), st.floats(5, 36)),
        concentrations=RANGE,
        weights=st.sampled_from(["random", "published", "models/a b'/model.yaml"]),
        shift=st.floats(0, 0.3),
        views=st.sampled_from([1, 8]),
        patience=st.integers(0, 1000),
        members=st.integers(1, 32),
        learning_rate=POSITIVE,
    ),
    "simulation": some(SimulationSettings, seed=st.integers(0), labelled=st.floats(1e-6, 1)),
    "service": some(ServiceSettings, **SERVICE),
    "files": some(
        FilesSettings,
        **SERVICE,
        folder=TEXT,
        pattern=st.sampled_from(["{file_loc}", "a b/{object_id}_{band}.fits"]),
        naming=st.sampled_from(["header", "order"]),
        hdu=TEXT,
    ),
    "legacy": some(LegacySettings, **SERVICE, layer=st.just("ls-dr10.x_y")),
    "simulated": some(lambda **given: SimulatedSettings(truth="a b'.parquet", **given), **SERVICE),
    "network": some(Network, requests_per_second=st.floats(1e-4, 1e4), contact=LINE),
    "splits": some(SplitSettings, salt=TEXT),
}


@pytest.mark.parametrize("name", SETTINGS)
@given(data=st.data())
def test_flags_round_trip(name, data):
    before = data.draw(SETTINGS[name])
    flags = [flags_of(before.to_flags()), flags_of(before.operational_flags())]
    assert all(words == sorted(words, key=lambda word: word.partition("=")[0]) for words in flags)
    assert type(before).from_flags([*flags[0], *flags[1]], "test") == before


def flags_of(spelled, option="--set"):
    words = shlex.split(spelled)
    assert words[::2] == [option] * (len(words) // 2)
    return words[1::2]


@given(some(Network, requests_per_second=st.floats(1e-4, 1e4), contact=LINE))
def test_limits_round_trip(limits):
    assert Network.from_flags(flags_of(limits.to_flags("--network"), "--network"), "test") == limits


def test_places_are_operational():
    legacy = LegacySettings(server="http://localhost:1")
    assert "server" not in legacy.to_flags()
    assert legacy.operational_flags() == "--set server=http://localhost:1"
    assert "server" not in legacy.product_settings()


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("http://u:HUNTER2@127.0.0.1:1", "must hold no user or password"),
        ("http://127.0.0.1:abc", "server: "),
        ("http://:80", "must name a host"),
    ],
)
def test_an_address_is_checked_and_its_password_never_repeated(server, told):
    with pytest.raises(UserError, match=told) as refused:
        LegacySettings.from_flags([f"server={server}"], "fetch")
    assert "HUNTER2" not in str(refused.value)


@pytest.mark.parametrize(
    "flag",
    ["requests_per_second=1e-300", "timeout_s=inf", "contact=a\nb", "requests_per_second=inf"],
)
def test_limits_that_no_clock_knows_are_refused(flag):
    with pytest.raises(UserError, match=flag.split("=")[0]):
        Network.from_flags([flag], "fetch")


def test_a_band_stands_once():
    with pytest.raises(UserError, match="a band stands twice in g,g"):
        LegacySettings.from_flags(["bands=g,g"], "fetch")


def test_only_what_was_chosen_is_spelled():
    chosen = PredictSettings(unfit=["constant", "no_data"], samples=5, device="cpu")
    assert chosen.to_flags() == "--set unfit=constant,no_data"
    assert chosen.operational_flags() == "--set device=cpu"
    assert chosen.product_settings() == {"unfit": ["constant", "no_data"]}


def test_null_is_the_same_as_absent():
    given = {"samples": None, "views": 8}
    assert PredictSettings.model_validate(given) == PredictSettings(views=8)
    images = Images.model_validate({"recipe": "lupton", "q": None, "size": 64})
    assert images.to_flags() == "--recipe lupton --set size=64"


@pytest.mark.parametrize(
    ("model", "flag", "message"),
    [
        (PredictSettings, "samples", "predict: --set 'samples' is not of the form key=value"),
        (
            PredictSettings,
            "sample=5",
            "predict: sample: unknown key; allowed: allow_domain_shift, batch_size, compile, "
            "device, keep, keep_views, member, pool, precision, samples, unfit, views",
        ),
        (PredictSettings, "samples=0", r"samples: .*greater than or equal to 1 \(given: '0'\)"),
        (PredictSettings, "samples=few", r"samples: .*valid integer.*\(given: 'few'\)"),
        (PredictSettings, "allow_domain_shift=perhaps", r"valid boolean.*\(given: 'perhaps'\)"),
        (RecipeSettings, "format=gif", r"format: .*'jpeg', 'png' or 'webp' \(given: 'gif'\)"),
        (SplitSettings, "train=0.5", r"train \+ val \+ test must be 1, not 0\.8"),
        (TrainSettings, "epochs=3", "encoder: this key is required"),
        (LegacySettings, "server=ftp://x", r"server: .*https\?.*\(given: 'ftp://x'\)"),
        (LegacySettings, "layer=a/b", r"layer: .*\(given: 'a/b'\)"),
        (ServiceSettings, "pixel_scale=gz", r"pixel_scale.*gz_decals.*\(given: 'gz'\)"),
    ],
)
def test_bad_flag_is_refused(model, flag, message):
    with pytest.raises(UserError, match=message):
        model.from_flags([flag], "predict")


@pytest.mark.parametrize("bounds", ["1.4,1.2", "0,1", "-1,2", "1", "1,2,3", "nan,2"])
def test_bad_range_is_refused(bounds):
    with pytest.raises(UserError, match="zoom"):
        TrainSettings.from_flags(["encoder=resnet18", f"zoom={bounds}"], "train")


def test_unknown_encoder_names_near_ones():
    with pytest.raises(UserError, match=r"unknown encoder 'resnet81'; nearest: .*resnet18"):
        TrainSettings.from_flags(["encoder=resnet81"], "train")


def test_an_equals_sign_in_a_value_is_kept():
    assert SplitSettings.from_flags(["salt=a=b"], "labels").salt == "a=b"


@pytest.mark.parametrize("model", [PredictSettings, TrainSettings, LegacySettings, Network])
def test_every_setting_is_described(model):
    assert all(info.description for info in model.model_fields.values())
