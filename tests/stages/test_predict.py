"""A prediction for every row, or nulls and the reason; models serve the images they know."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.inference.predict import predict
from galaxymill.inference.settings import PredictSettings
from galaxymill.inference.summary import summarise
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, write_model, write_weights
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.votes.task import Task
from galaxymill.votes.tree import parse_tree

TREE = parse_tree(
    {
        "name": "toy",
        "questions": {
            "shape": {"answers": ["smooth", "featured", "star"]},
            "bar": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
        },
    },
    "toy",
)
TASK = Task("votes", TREE)
DOMAIN = {"survey": "toy", "recipe": "decals", "render_version": 1}
ROWS = 300
UNFIT = {4: "no_coverage", 17: "zero_or_nan_above_20pc", 290: "truncated"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(1)
    settings = TrainSettings(encoder="test_efficientnet", image_size=32)
    encoder = describe_encoder(settings.encoder)
    network = Network(encoder, TASK, settings)
    torch.nn.init.normal_(network.head.linear.weight, std=0.5)
    origin = Origin("train", domain=DOMAIN).to_dict()
    digest = write_weights(folder, [network])
    write_model(folder, ModelCard(TASK, settings, encoder.to_dict(), digest, origin, {}))
    return folder / "model.yaml"


def write_images(path, domain=DOMAIN, rows=ROWS):
    generator = np.random.default_rng(1)
    plain = []
    for index in range(rows):
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (42, 42, 3), np.uint8)).save(file, "PNG")
        bits = flags.BITS[UNFIT[index]] if index in UNFIT else 0
        # A band with bad pixels is drawn all the same; nothing could be drawn of the others.
        drawn = bits in (0, flags.BITS["zero_or_nan_above_20pc"])
        image = {"bytes": file.getvalue(), "path": None} if drawn else None
        plain.append({"object_id": f"g{index:03d}", "image": image, "flags": bits})
    table = pa.Table.from_pylist(plain, products.IMAGES)
    write_product(path, table, Origin("render", domain=domain), products.IMAGES)
    return path


def run(images, model, folder, **settings):
    out, embeddings = folder / "predictions.parquet", folder / "embeddings.parquet"
    chosen = PredictSettings(**{"device": "cpu", "precision": "fp32", **settings})
    predict(images, model, out, embeddings, chosen)
    return pq.read_table(out), pq.read_table(embeddings)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "g0-k0-p4.parquet")


@pytest.fixture(scope="module")
def predicted(images, model, tmp_path_factory):
    return run(images, model, tmp_path_factory.mktemp("out"), samples=3)


def test_every_row_is_there_in_its_order(predicted):
    for table in predicted:
        assert table["object_id"].to_pylist() == [f"g{index:03d}" for index in range(ROWS)]
    assert predicted[0].schema.equals(products.predictions(TASK, 3))


def test_unfit_rows_are_null_with_their_flags(predicted):
    predictions, embeddings = predicted
    bits = predictions["flags"].to_pylist()
    assert {i: flags.names(bits[i])[0] for i in range(ROWS) if bits[i]} == UNFIT
    for name in predictions.column_names[2:]:
        assert set(np.flatnonzero(predictions[name].is_null().to_numpy())) == set(UNFIT)
    assert set(np.flatnonzero(embeddings["embedding"].is_null().to_numpy())) == set(UNFIT)


def test_summaries_are_those_of_the_concentrations(predicted):
    table, _ = predicted
    fit = table.filter(table["concentrations"].is_valid())
    alpha = np.stack(fit["concentrations"].to_pylist()).reshape(-1, 3, 5)
    assert ((alpha >= 0.1) & (alpha <= 101)).all()
    for name, values in summarise(alpha, TASK).items():
        np.testing.assert_allclose(fit[name].to_numpy(), values.to_numpy(), atol=1e-5)


def test_embeddings_are_half_precision_vectors(predicted):
    kind = predicted[1].schema.field("embedding").type
    assert pa.types.is_fixed_size_list(kind)
    assert kind.value_type == pa.float16()
    values = np.array(predicted[1]["embedding"][0].as_py(), float)
    assert len(values) == kind.list_size
    assert np.isfinite(values).all()
    assert values.std() > 0


def test_a_galaxy_has_the_same_prediction_in_another_partition(predicted, model, tmp_path):
    fewer = write_images(tmp_path / "images.parquet", rows=10)
    table, _ = run(fewer, model, tmp_path, samples=3)
    expected = predicted[0].slice(0, 10)
    for name in table.column_names[3:]:
        np.testing.assert_allclose(table[name].to_numpy(), expected[name].to_numpy(), atol=1e-5)


def test_the_origin_names_images_and_model(predicted, images, model, tmp_path):
    run(write_images(tmp_path / "i.parquet", rows=2), model, tmp_path, samples=1)
    record = read_record(tmp_path / "predictions.parquet")
    assert record.origin["inputs"]["images"] == read_record(tmp_path / "i.parquet").digest
    assert len(record.origin["inputs"]["model"]) == 64
    assert record.origin["domain"] == DOMAIN
    expected = {
        "samples": 1,
        "views": "model",
        "keep_views": False,
        "keep": ["samples", "embeddings"],
        "allow_domain_shift": False,
        "unfit": list(flags.UNFIT),
    }
    assert record.origin["parameters"] == expected


def test_which_flags_leave_a_galaxy_unpredicted_is_the_config_s(model, tmp_path):
    images = write_images(tmp_path / "i.parquet", rows=20)
    for unfit, expected in ((("zero_or_nan_above_20pc",), [4, 17]), ((), [4])):
        table, _ = run(images, model, tmp_path, samples=1, unfit=unfit)
        assert np.flatnonzero(table["bar_yes_fraction"].is_null()).tolist() == expected


def test_another_survey_is_refused_with_both_names(model, tmp_path):
    images = write_images(tmp_path / "i.parquet", {**DOMAIN, "survey": "deep"}, rows=2)
    with pytest.raises(UserError, match="survey: model 'toy', images 'deep'") as refusal:
        run(images, model, tmp_path)
    assert "recipe" not in str(refusal.value).split(": ", 1)[1].split(". Train")[0]
    assert "allow_domain_shift: true" in str(refusal.value)
    assert not (tmp_path / "predictions.parquet").exists()


def test_a_shift_that_is_allowed_is_flagged(model, tmp_path):
    images = write_images(tmp_path / "i.parquet", {**DOMAIN, "recipe": "lupton"}, rows=6)
    table, _ = run(images, model, tmp_path, samples=1, allow_domain_shift=True)
    told = [flags.names(bits) for bits in table["flags"].to_pylist()]
    assert told == [["domain_shift"]] * 4 + [["no_coverage", "domain_shift"], ["domain_shift"]]
    assert table["bar_yes_fraction"].null_count == 1


def test_a_partition_without_any_fit_image(model, tmp_path):
    row = {"object_id": "a", "image": None, "flags": flags.BITS["no_coverage"]}
    table = pa.Table.from_pylist([row], products.IMAGES)
    path = tmp_path / "i.parquet"
    write_product(path, table, Origin("render", domain=DOMAIN), products.IMAGES)
    predictions, embeddings = run(path, model, tmp_path, samples=2)
    assert predictions["concentrations"].to_pylist() == [None]
    assert embeddings["embedding"].to_pylist() == [None]


def test_predicting_again_gives_the_same_bytes(model, tmp_path):
    images = write_images(tmp_path / "i.parquet", rows=5)
    files = []
    for _ in range(2):
        run(images, model, tmp_path, samples=2)
        files.append(
            [(tmp_path / f"{n}.parquet").read_bytes() for n in ("predictions", "embeddings")]
        )
    assert files[0] == files[1]


def test_command_line_refuses_with_one_message(galaxymill, model, tmp_path):
    images = write_images(tmp_path / "i.parquet", {**DOMAIN, "survey": "deep"}, rows=1)
    done = galaxymill("predict", images, "--model", model, "--out", tmp_path / "p.parquet")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "survey: model 'toy', images 'deep'" in done.stderr
