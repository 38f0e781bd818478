"""Images from elsewhere go the way of a survey's own: drawn, predicted, projected, found."""

import csv
import io

import numpy as np
import pyarrow as pa
import pytest
import torch
from astropy.io import fits
from PIL import Image
from typer.testing import CliRunner

from galaxymill import products
from galaxymill.commands.finding import app
from galaxymill.errors import UserError
from galaxymill.images.domains import domain
from galaxymill.images.render import image_row
from galaxymill.images.settings import DecalsSettings
from galaxymill.inference.predict import predict
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, read_card, write_model, write_weights
from galaxymill.paths import fill
from galaxymill.spaces.fit import fit_space
from galaxymill.spaces.project import project
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import VoteTask
from galaxymill.trees.tree import parse_tree

SIDE, COUNT, PART = 48, 24, "g0-k1-p5"
RECIPE = DecalsSettings(size=SIDE)
DOMAIN = domain("field", "decals", RECIPE)
TREE = parse_tree({"name": "toy", "questions": {"shape": {"answers": ["round", "flat"]}}}, "toy")


def cutout(number, bands="grz"):
    """A galaxy as FITS: an ellipse of its own size, angle, flattening and colour."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    angle, flat, size = rng.uniform(0, np.pi), rng.uniform(0.2, 1), rng.uniform(2, 9)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = np.exp(-np.hypot(along, across / flat) / size)
    planes = light * rng.uniform(0.05, 1, (len(bands), 1, 1))
    header = fits.Header({"BANDS": bands})
    file = io.BytesIO()
    fits.PrimaryHDU(planes.astype(np.float32), header).writeto(file)
    return file.getvalue()


def write_network(folder, seed):
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    chosen = TrainSettings(encoder="test_efficientnet", image_size=32, views=8)
    encoder, task = describe_encoder(chosen.encoder), VoteTask(TREE)
    digest = write_weights(folder, [Network(encoder, task, chosen).eval()])
    origin = {"stage": "train", "domain": DOMAIN}
    write_model(folder, ModelCard(task, chosen, encoder.to_dict(), digest, origin, {"train": 9}))
    return folder / "model.yaml"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_network(folder / "models" / "another", 2)
    # A probe, which has no images, is passed over when the model is looked for.
    (folder / "models" / "a_probe").mkdir()
    (folder / "models" / "a_probe" / "model.yaml").write_text("probe: {space: abc}\n")
    model = write_network(folder / "models" / "mine", 1)
    rows = [
        image_row({"object_id": f"g{n}", "status": "ok", "payload": cutout(n)}, "decals", RECIPE)
        for n in range(COUNT)
    ]
    images = fill(f"<images>/{PART}.parquet", folder, survey="field")
    table = pa.Table.from_pylist(rows, schema=products.IMAGES)
    write_product(images, table, Origin("render", {}, {}, DOMAIN), products.IMAGES)
    tile = fill(f"<tiles>/{PART}.parquet", folder, survey="field")
    places = np.arange(COUNT)
    columns = [[f"g{n}" for n in places], places / 10.0, places / 10.0, places]
    schema = products.objects()
    write_product(tile, pa.table(columns, schema=schema), Origin("partition"), schema)
    folders = [fill(f"<{k}>", folder, prediction="dr1") for k in ("embeddings", "predictions")]
    embeddings, predictions = (one / f"{PART}.parquet" for one in folders)
    settings = PredictSettings(samples=1, unfit=("dark",), device="cpu")
    predict(images, model, predictions, embeddings, settings)
    parts = folder / "parts.csv"
    parts.write_text(f"part\n{PART}\n")
    space = fill("<space>/space.yaml", folder, space="dr1")
    fit_space(parts, *folders, space, SpaceSettings(components=8))
    project(embeddings, predictions, space, fill(f"<features>/{PART}.parquet", folder, space="dr1"))
    return folder


def search(results, *words):
    out = results / "like.csv"
    space = fill("<space>/space.yaml", results, space="dr1")
    done = CliRunner().invoke(app, ["similar", str(out), "--space", str(space), *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("number", [0, 7])
def test_a_surveys_own_image_finds_its_galaxy(results, tmp_path, number):
    images = fill(f"<images>/{PART}.parquet", results, survey="field")
    picture = pa.parquet.read_table(images)["image"][number].as_py()["bytes"]
    own = tmp_path / "own.jpg"
    own.write_bytes(picture)
    rows = search(results, "--image", str(own), "-k", "3")
    assert rows[0]["object_id"] == f"g{number}"
    assert float(rows[0]["similarity"]) == pytest.approx(1, abs=1e-3)
    assert float(rows[1]["similarity"]) < 0.999


def test_a_cutout_is_drawn_by_the_surveys_recipe(results, tmp_path):
    own = tmp_path / "own.fits"
    own.write_bytes(cutout(5))
    first = search(results, "--image", str(own), "-k", "1")[0]
    assert first["object_id"] == "g5"
    # The survey's JPEG has lost something.
    assert float(first["similarity"]) == pytest.approx(1, abs=0.02)


def write_picture(path, size, colour=(90, 80, 70)):
    Image.new("RGB", size, colour).save(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_text("no image"), "no image that a galaxy can be found by"),
        (lambda path: path.write_bytes(cutout(1)[:3000]), "FITS data end too early"),
        (lambda path: path.write_bytes(cutout(1, "uvw")), "no band"),
        (lambda path: write_picture(path, (48, 48), (0, 0, 0)), "dark"),
        (lambda path: write_picture(path, (4000, 4000)), "no image that a galaxy can be found by"),
        (lambda path: None, "no file"),
    ],
)
def test_what_is_no_image_is_refused(results, tmp_path, write, message):
    path = tmp_path / "one.png"
    write(path)
    with pytest.raises(UserError, match=rf"one\.png: .*{message}"):
        search(results, "--image", str(path))


def test_another_model_than_that_of_the_space_is_refused(results, tmp_path):
    (tmp_path / "one.fits").write_bytes(cutout(1))
    words = ["--image", str(tmp_path / "one.fits")]
    models = results / "models"
    ours, other = (read_card(models / n / "model.yaml").digest for n in ("mine", "another"))
    with pytest.raises(UserError, match=f"is model {other}, but the space is of model {ours}"):
        search(results, *words, "--model", str(models / "another" / "model.yaml"))
