"""Whatever stands in a config or a file, a stage succeeds or says in a sentence what is wrong.

Every setting of every stage takes each absurd value that is allowed, on a tiny survey; and every
file that a stage reads is damaged, foreign, empty, a folder or gone.
"""

import io
import re
import shutil
import sys
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxymill.catalog.settings import CatalogSettings
from galaxymill.downloads.settings import DownloadSettings
from galaxymill.images.recipes import RECIPES
from galaxymill.images.settings import RecipeSettings
from galaxymill.inference.settings import PredictSettings
from galaxymill.labels.formats import FORMATS
from galaxymill.models.settings import TrainSettings
from galaxymill.rates import ModelUse, Rates
from galaxymill.release.settings import ReleaseSettings
from galaxymill.simulation.settings import SimulationSettings
from galaxymill.splits import SplitSettings
from galaxymill.surveys.registry import SERVICES
from galaxymill.tasks.checks import CheckSettings
from galaxymill.web.network import Network

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from absurd import TRAIN, TRAIN_WORDS, Tiny, absurd, allowed, call, sets

DEAD = "http://127.0.0.1:9"
HOURS = ("epochs=10000", "members=32", "folds=32", "compile=on", "size=3000", "image_size=1024")
HOURS += ("n_galaxies=1000000",)
"""What is right and only takes long; one of 3,000 pixels is drawn."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return Tiny(tmp_path_factory.mktemp("tiny"))


def options(name, words):
    """Spell an option once for each word."""
    return [part for word in words for part in (f"--{name}", word)]


def walk(model, given, out, build):
    """Run a command with each absurd value that the settings allow; list the tracebacks."""
    words = [word for word in absurd(model) if word not in HOURS]
    runs = [found for word in words if (found := allowed(model, given, word)) is not None]
    assert runs
    return tried(out, [(run, build(run)) for run in runs])


def tried(out, commands):
    faults = []
    for what, command in commands:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        error = call(*command)
        if error is not None:
            faults.append((what, repr(error)[:300]))
    return faults


def test_catalogue_columns(tiny, tmp_path):
    given = {"file_loc": "file_loc"}
    out = tmp_path / "out"
    assert walk(CatalogSettings, given, out, lambda run: tiny.ingest(run, out / "o.parquet")) == []


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes(tiny, tmp_path, recipe):
    out, model = tmp_path / "out", RECIPES[recipe].settings
    build = lambda run: tiny.render(recipe, run, out / "o.parquet")  # noqa: E731
    assert walk(model, {"size": "32"}, out, build) == []


def test_a_large_image(tiny, tmp_path):
    assert call(*tiny.render("passthrough", ["size=3000"], tmp_path / "o.parquet")) is None


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_of_labels(tiny, tmp_path, kind):
    given = {"number": {"column": "z"}, "classes": {"column": "kind"}}.get(kind, {})
    out, model = tmp_path / "out", FORMATS[kind].settings
    assert walk(model, given, out, lambda run: tiny.labels(kind, run, out / "o.parquet")) == []


@pytest.mark.parametrize(("option", "model"), [("split", SplitSettings), ("check", CheckSettings)])
def test_splits_and_checks(tiny, tmp_path, option, model):
    out = tmp_path / "out"

    def build(run):
        return [*tiny.labels("counts", [], out / "o.parquet"), *options(option, run)]

    assert walk(model, {}, out, build) == []


@pytest.mark.parametrize("service", SERVICES)
def test_services_and_what_is_planned(tiny, tmp_path, service):
    """Those of the network find nobody there."""
    out, model = tmp_path / "out", SERVICES[service].settings
    own = {"folder": tiny.folder / "pics", "truth": tiny.objects, "table": tiny.objects}
    own |= dict.fromkeys(("server", "s3", "tap", "soda"), DEAD) | {"size": 32}
    own |= {"hips": "a/b,c,d", "survey": "near", "into": "near", "unit": "Jy"}
    telescope = '{"seeing": {"g": 1, "r": 1, "z": 1}, "depth": {"g": 20, "r": 20, "z": 20}}'
    own |= {"cutouts": tiny.fluxes, "source": telescope, "target": telescope}
    given = {name: str(value) for name, value in own.items() if name in model.model_fields}
    assert walk(model, given, out, lambda run: tiny.fetch(service, run, out / "o.parquet")) == []
    plan = ["plan", tiny.partitions, "--service", service]
    assert walk(model, given, out, lambda run: [*plan, *sets(run)]) == []


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("answers", [True, False])
def test_downloads(tmp_path, server, answers):
    """A server may send ten bytes, or nothing at all."""
    server.expect_request("/x").respond_with_data(b"0123456789")
    given = {"url": server.url_for("/x") if answers else f"{DEAD}/x"}

    def build(run):
        words = dict(word.split("=", 1) for word in run)
        options = [part for key in words.keys() - {"url"} for part in (f"--{key}", words[key])]
        return ["download", words["url"], tmp_path / "out" / "x", *options]

    assert walk(DownloadSettings, given, tmp_path / "out", build) == []


def test_simulation(tmp_path):
    out, given = tmp_path / "out", {"n_galaxies": "10"}
    command = ["simulate", out, "decals_dr5"]
    assert walk(SimulationSettings, given, out, lambda run: [*command, *sets(run)]) == []


@pytest.mark.usefixtures("short_waits")
def test_limits_of_the_network(tiny, tmp_path, server):
    """Of a service that answers nobody well: the first failure ends the job."""
    server.expect_request("/viewer/fits-cutout").respond_with_data("busy", 503)
    out = tmp_path / "out"
    ask = ["fetch", tiny.tile, out / "o.parquet", "--service", "legacy"]
    ask += sets([f"server={server.url_for('')}", "size=32"])
    given = {"stop_after": "1", "attempts": "1", "connections": "1"}
    assert walk(Network, given, out, lambda run: [*ask, *options("network", run)]) == []


@pytest.mark.parametrize(
    ("option", "model"),
    [("network", Network), ("rate", Rates), ("image", RecipeSettings), ("prediction", ModelUse)],
)
def test_what_a_plan_is_reckoned_with(tiny, tmp_path, option, model):
    plan = ["plan", tiny.partitions, "--service", "legacy", "--prediction", "m releases=1"]

    def build(run):
        return [*plan, *options(option, [" ".join(["n", *run])] if option == "prediction" else run)]

    assert walk(model, {}, tmp_path / "out", build) == []


@pytest.mark.parametrize("end", [("1e-06", "1", "0"), ("1e+12", "1000000", "1000000000000")])
def test_the_least_and_the_greatest_rates_at_once_are_hours_to_read(tiny, capfd, end):
    rate, count, size = end
    rates = options("rate", [f"{name}={rate}" for name in Rates.model_fields])
    use = f"m passes={count} releases={count} summary_bytes={size} embedding_bytes={size}"
    network = f"requests_per_second={'1e-4' if float(rate) < 1 else '1e4'}"
    command = ["plan", tiny.partitions, "--service", "legacy", *rates, "--prediction", use]
    capfd.readouterr()
    assert call(*command, "--network", network, "--image", "size=3000") is None
    told = capfd.readouterr().out
    assert "release" in told
    assert max(map(len, told.splitlines())) < 200
    assert not re.search(r"\b(inf|nan)\b", told)


def test_training(tiny, tmp_path):
    out = tmp_path / "out"
    assert walk(TrainSettings, TRAIN, out, lambda run: tiny.train(run, out / "model.yaml")) == []


ENCODERS = [
    {"encoder": "vgg11", "drop_path": "0.5"},
    {"encoder": "inception_v3"},
    {"encoder": "test_vit"},
    {"encoder": "mobilenetv3_small_050"},
    {"encoder": "test_mambaout"},
    {"encoder": "resnet18.no_such_tag"},
    {"encoder": "local-dir:/"},
]


@pytest.mark.parametrize("given", ENCODERS, ids=lambda given: given["encoder"])
def test_encoders(tiny, tmp_path, given):
    """Some take no small image or no stochastic depth, some pool other features than they say."""
    words = [f"{key}={value}" for key, value in {**TRAIN, **given}.items()]
    assert call(*tiny.train(words, tmp_path / "model.yaml")) is None
    made = (tmp_path / "model.yaml").exists()
    assert made == (given["encoder"] in ("mobilenetv3_small_050", "test_mambaout"))


def test_prediction(tiny, tmp_path):
    out = tmp_path / "out"
    # Its own flags come last, and would win.
    words = tiny.predict([], out / "o.parquet")
    words = words[: words.index("--device")]
    build = lambda run: [*words, *sets(run)]  # noqa: E731
    assert walk(PredictSettings, {"device": "cpu", "precision": "fp32"}, out, build) == []


SELECTION = (
    '{"x": {"description": "d", "source": "s", "cuts": [{"column": "%s", "at_most": 1e300}]}}'
)


def test_release(tiny, tmp_path):
    """All settings take an absurd value at once: a release takes a second."""
    out, columns = tmp_path / "out", {}
    for word in absurd(ReleaseSettings):
        if allowed(ReleaseSettings, {}, word) is not None:
            columns.setdefault(word.partition("=")[0], []).append(word)
    columns["selections"] += [f"selections={SELECTION % name}" for name in ("nope", "flags", "")]
    runs = [[word for word in run if word] for run in zip_longest(*columns.values())]
    commands = [(run, tiny.merge(run, out / "r" / "SHA256SUMS")) for run in runs]
    assert tried(out, commands) == []


def garbled(content):
    """Keep the beginning and the end, where formats tell what they are."""
    third = len(content) // 3
    return (
        content[:8]
        + bytes(byte ^ 0x5A for byte in content[8 : third + 200])
        + content[third + 200 :]
    )


def foreign():
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), file)
    return file.getvalue()


FOREIGN = foreign()
DAMAGES = {
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "short": lambda content: content[:-5],
    "garbled": garbled,
    "zeros": lambda content: bytes(len(content)),
    "text": lambda _: b"hello\nworld\n",
    "latin": lambda _: b"\xe9\xff\xfe,\xe9\n",
    "json": lambda _: b"[]",
    "yaml": lambda _: b"a: {b: [1, 2]}\n",
    "foreign": lambda _: FOREIGN,
    "gone": None,
    "folder": None,
}


def stages(tiny, out):
    """Every stage with the files that it reads."""
    o, pics = out / "o.parquet", tiny.folder / "pics"
    plan = ["plan", tiny.partitions, "--service", "files", "--set", f"folder={pics}"]
    files = [f"folder={pics}", "size=32"]
    weights = tiny.model.parent / "weights.safetensors"
    start = [*TRAIN_WORDS, f"weights={tiny.model}"]
    alone = sets([f"encoder={TRAIN['encoder']}", f"weights={tiny.model}"])
    name = ["--name", "x"]
    products = ("partitions", "objects", "tile", "cutouts", "images", "predictions")
    merged = [*(getattr(tiny, role) for role in products), tiny.model, tiny.metrics]
    compared = ["compare", tiny.predictions, tiny.catalog, "--on", "object_id"]
    panoptes = tiny.labels("panoptes", [f"tasks={tiny.metrics}"], o)
    return {
        "ingest": (tiny.ingest([], o), [tiny.catalog]),
        "partition": (["partition", tiny.objects, out / "partitions.csv"], [tiny.objects]),
        "plan": (plan, [tiny.partitions, tiny.tile]),
        "fetch": (tiny.fetch("files", files, o), [tiny.tile, pics / "0.png"]),
        "footprint": (tiny.fetch("files", [*files, f"footprint={tiny.votes}"], o), [tiny.votes]),
        "tiles": (tiny.fetch("tiles", [*files, f"table={tiny.votes}"], o), [tiny.votes]),
        "truth": (tiny.fetch("simulated", [f"truth={tiny.votes}"], o), [tiny.votes]),
        "render": (tiny.render("passthrough", ["size=32"], o), [tiny.cutouts]),
        "labels": (tiny.labels("counts", [], o), [tiny.catalog, tiny.tree]),
        "panoptes": (panoptes, [tiny.catalog, tiny.metrics]),
        "label-images": (
            ["label-images", o, pics, tiny.catalog, *name],
            [tiny.catalog, pics / "0.png"],
        ),
        "train": (tiny.train(TRAIN_WORDS, out / "model.yaml"), [tiny.votes, tiny.images]),
        "start": (tiny.train(start, out / "model.yaml"), [tiny.model, weights]),
        "alone": (["encoder", out / "model.yaml", *alone], [tiny.model, weights]),
        "evaluate": (
            tiny.evaluate([], out / "metrics.json"),
            [tiny.votes, tiny.images, tiny.model, weights, tiny.objects],
        ),
        "predict": (tiny.predict([], o), [tiny.images, tiny.model, weights]),
        "release": (tiny.merge([], out / "r" / "SHA256SUMS"), merged),
        "compare": (compared, [tiny.predictions, tiny.catalog]),
        "sheet": (["images", "sheet", tiny.images, "--out", out / "s.png"], [tiny.images]),
        "export": (["images", "export", tiny.images, "--out", out / "e"], [tiny.images]),
    }


STAGES = [
    *("ingest", "partition", "plan", "fetch", "footprint", "tiles", "truth", "render", "labels"),
    *("panoptes", "label-images", "train", "start", "evaluate", "predict", "release", "compare"),
    *("alone", "sheet", "export"),
]


@pytest.mark.parametrize("stage", STAGES)
def test_damaged_inputs(tiny, tmp_path, stage):
    out, faults = tmp_path / "out", []
    command, files = stages(tiny, out)[stage]
    for path in files:
        good = path.read_bytes()
        for name, damage in DAMAGES.items():
            path.unlink()
            if name == "folder":
                path.mkdir()
            elif damage is not None:
                path.write_bytes(damage(good))
            try:
                faults += tried(out, [((path.name, name), command)])
            finally:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                path.write_bytes(good)
    assert faults == []


def test_a_damaged_product_is_named_with_the_way_out(tiny, tmp_path, capfd):
    good = tiny.images.read_bytes()
    try:
        tiny.images.write_bytes(garbled(good))
        assert call(*tiny.predict([], tmp_path / "o.parquet")) is None
    finally:
        tiny.images.write_bytes(good)
    told = capfd.readouterr().err
    assert f"{tiny.images}: damaged, or not a Parquet file" in told
    assert "remove it and run the stage that makes it again" in told
