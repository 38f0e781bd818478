"""A prediction for every row, or nulls and the reason; models serve the images they know."""

import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from galaxymill import flags, products
from galaxymill.errors import UserError
from galaxymill.inference import stream
from galaxymill.inference.predict import predict
from galaxymill.inference.rows import Rows, summarise
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, read_card, write_model, write_weights
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.trees.tree import parse_tree

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
TASK = VoteTask(TREE)
DOMAIN = {"survey": "toy", "recipe": "decals", "render_version": 1}
ROWS = 300
decode = stream._decode
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
    assert record.origin["parameters"] == {"samples": 1}


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


SIGHT = {"seeing": dict.fromkeys("grz", 1.2), "depth": dict.fromkeys("grz", 24.0)}
SIGHT |= {"pixel_scale": 0.262, "size": 256}


def seen(folder, images, model, learned):
    """Predict images of another survey by a model; of each, how well it is seen."""
    (folder / "model").mkdir()
    card = read_card(model)
    origin = Origin("train", domain={**DOMAIN, "sight": {**SIGHT, **learned}}).to_dict()
    shutil.copy(model.parent / "weights.safetensors", folder / "model")
    write_model(folder / "model", replace(card, origin=origin))
    domain = {**DOMAIN, "survey": "deep", "sight": {**SIGHT, **images}}
    path = write_images(folder / "i.parquet", domain, rows=3)
    return run(path, folder / "model" / "model.yaml", folder, samples=1)


def test_a_survey_that_is_seen_alike_is_served_without_a_flag(model, tmp_path):
    table, _ = seen(tmp_path, {"seeing": dict.fromkeys("grz", 1.3)}, model, {})
    assert table["flags"].to_pylist() == [0, 0, 0]


def test_a_survey_that_is_seen_otherwise_is_refused_with_band_and_numbers(model, tmp_path):
    shallow = {"g": 24.0, "r": 24.0, "z": 23.0}
    with pytest.raises(UserError, match=r"depth in z \(mag; 1\.00 apart, at most 0\.25\)") as told:
        seen(tmp_path, {"depth": shallow}, model, {})
    assert "survey: model" not in str(told.value)
    assert "depth in g" not in str(told.value)


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


def spoil(path, images, places):
    """Copy an images product in which the files at some places are damaged."""
    table = pq.read_table(images)
    plain = table["image"].to_pylist()
    for place, damage in places.items():
        plain[place]["bytes"] = damage(plain[place]["bytes"])
    table = table.set_column(1, "image", pa.array(plain, products.IMAGES.field("image").type))
    write_product(
        path, table.cast(products.IMAGES), Origin("render", domain=DOMAIN), products.IMAGES
    )
    return path


def test_an_image_that_cannot_be_decoded_is_a_row_with_a_flag(images, predicted, model, tmp_path):
    damages = {
        0: lambda _: b"",
        3: lambda file: file[:300],
        70: lambda _: b"GIF89a",
        299: lambda file: file[:40] + b"\xff" * 200 + file[240:],
    }
    spoilt = spoil(tmp_path / "i.parquet", images, damages)
    table, embeddings = run(spoilt, model, tmp_path, samples=3)
    for place, row in enumerate(table.to_pylist()):
        told = flags.names(row["flags"])
        if place in damages:
            assert told == ["unreadable"]
            assert {value for key, value in row.items() if key not in ("object_id", "flags")} == {
                None
            }
            assert embeddings["embedding"][place].as_py() is None
        else:
            assert told == ([UNFIT[place]] if place in UNFIT else [])
            expected = predicted[0]["bar_yes_fraction"][place].as_py()
            assert row["bar_yes_fraction"] == (expected and pytest.approx(expected, abs=1e-5))


class Killed(BaseException):
    """As a signal would, it passes all handlers."""


@pytest.mark.parametrize("done", [0, 1, 4])
def test_a_killed_job_goes_on_where_it_was(images, model, tmp_path, monkeypatch, caplog, done):
    monkeypatch.setattr(stream, "_CHUNK_BYTES", 64 * (3 * 32 * 32 + 5 * 3 * 4 + 2 * 256))
    whole = tmp_path / "whole"
    run(images, model, whole, samples=3)
    rows = 64
    seen = []

    def cut_off(self, *arguments):
        if len(seen) == done:
            raise Killed
        seen.append(arguments)
        return table(self, *arguments)

    table = Rows.table
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "table", cut_off)
        with pytest.raises(Killed):
            run(images, model, tmp_path, samples=3)
    assert not (tmp_path / "predictions.parquet").exists()
    assert not (tmp_path / "embeddings.parquet").exists()
    decoded = []
    monkeypatch.setattr(
        stream, "_decode", lambda *given: decoded.append(given[0]) or decode(*given)
    )
    with caplog.at_level("INFO", "galaxymill"):
        run(images, model, tmp_path, samples=3)
    told = f"goes on after {done * rows} galaxies"
    assert (told in caplog.text) == (done > 0)
    assert f"g{done * rows:03d}" in decoded
    assert not [key for key in decoded if key < f"g{done * rows:03d}"]
    for name in ("predictions.parquet", "embeddings.parquet"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_what_was_done_for_another_request_is_not_taken_over(images, model, tmp_path, monkeypatch):
    def cut_off(self, *arguments):
        made = table(self, *arguments)
        if len(made) < 256:
            raise Killed
        return made

    table = Rows.table
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "table", cut_off)
        with pytest.raises(Killed):
            run(images, model, tmp_path, samples=3)
    assert list(tmp_path.glob(".*.part"))
    again, _ = run(images, model, tmp_path, samples=2)
    assert again.schema.equals(products.predictions(TASK, 2))
    assert len(again) == ROWS


def test_samples_that_are_not_kept_are_not_there(predicted, images, model, tmp_path):
    table, embeddings = run(images, model, tmp_path, samples=3, keep=())
    assert table.schema.equals(products.predictions(TASK, 0))
    assert table.equals(predicted[0].drop_columns(["concentrations"]))
    assert embeddings["embedding"].null_count == ROWS
    assert embeddings["object_id"].equals(predicted[1]["object_id"])


def test_embeddings_need_not_be_written(model, tmp_path):
    images = write_images(tmp_path / "i.parquet", rows=3)
    predict(images, model.parent, tmp_path / "p.parquet", None, PredictSettings(device="cpu"))
    assert {path.name for path in tmp_path.iterdir()} == {"i.parquet", "p.parquet"}


def test_views_are_averaged_or_kept(model, tmp_path):
    images = write_images(tmp_path / "i.parquet", rows=4)
    averaged, features = run(images, model, tmp_path, samples=2, views=8)
    kept, same = run(images, model, tmp_path, samples=2, views=8, keep_views=True)
    assert averaged.schema.equals(products.predictions(TASK, 2))
    assert kept.schema.equals(products.predictions(TASK, 16))
    assert features.equals(same)
    alpha = np.stack(kept["concentrations"].to_pylist()[:4]).reshape(4, 8, 2, 5)
    assert alpha.std(axis=1).min() > 0
    # The views of a turned image are those of the image, in another order.
    table = pq.read_table(images).to_pylist()
    for row in table:
        with Image.open(io.BytesIO(row["image"]["bytes"])) as opened:
            file = io.BytesIO()
            opened.transpose(Image.Transpose.ROTATE_90).save(file, "PNG")
        row["image"]["bytes"] = file.getvalue()
    turned = pa.Table.from_pylist(table, products.IMAGES)
    write_product(images, turned, Origin("render", domain=DOMAIN), products.IMAGES)
    again, _ = run(images, model, tmp_path, samples=2, views=8)
    np.testing.assert_allclose(again["bar_yes_fraction"], averaged["bar_yes_fraction"], atol=1e-4)


RINGS = parse_tree({"name": "r", "questions": {"ring": {"answers": ["yes", "no"]}}}, "r")


@pytest.mark.parametrize("task", [ClassTask(RINGS), NumberTask("redshift")])
def test_classes_and_numbers_are_predicted_by_an_ensemble(task, tmp_path, monkeypatch):
    torch.manual_seed(2)
    settings = TrainSettings(encoder="test_efficientnet", image_size=32, members=2)
    encoder = describe_encoder(settings.encoder)
    networks = [Network(encoder, task, settings).eval() for _ in range(2)]
    for network in networks:
        torch.nn.init.normal_(network.head.linear.weight, std=0.5)
    digest = write_weights(tmp_path, networks)
    origin = Origin("train", domain=DOMAIN).to_dict()
    write_model(tmp_path, ModelCard(task, settings, encoder.to_dict(), digest, origin, {}))
    decoded = []
    monkeypatch.setattr(
        stream, "_decode", lambda *given: decoded.append(given[0]) or decode(*given)
    )
    images = write_images(tmp_path / "i.parquet", rows=6)
    table, embeddings = run(images, tmp_path / "model.yaml", tmp_path, samples=3)
    assert table.schema.equals(products.predictions(task, 6))
    assert sorted(decoded) == ["g000", "g001", "g002", "g003", "g005"]
    (column,) = [name for name in table.column_names if name in ("probabilities", "gaussians")]
    drawn = np.stack([row for row in table[column].to_pylist() if row]).reshape(5, 2, 3, 2)
    assert np.abs(drawn[:, 0].mean(1) - drawn[:, 1].mean(1)).min() > 0
    mean = drawn.mean(axis=(1, 2))
    name = "ring_yes_probability" if task.kind == "class" else "redshift_mean"
    values = [value for value in table[name].to_pylist() if value is not None]
    np.testing.assert_allclose(values, mean[:, 0], rtol=1e-5, atol=1e-5)
    assert embeddings["embedding"].null_count == 1


def test_the_share_of_time_that_the_network_waits_is_told(model, tmp_path, caplog):
    images = write_images(tmp_path / "i.parquet", rows=3)
    with caplog.at_level("INFO", "galaxymill"):
        run(images, model, tmp_path)
    assert "on cpu in float32, 16 images a step" in caplog.text
    assert re.search(r"the network waited \d+\.\d % of its time for images", caplog.text)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--precision", "fp8"], "fp32"),
        (["--device", "tpu"], "cuda"),
        (["--set", "keep=everything"], "samples, embeddings"),
        (["--set", "views=3"], "views"),
    ],
)
def test_command_line_names_what_is_allowed(galaxymill, model, tmp_path, words, told):
    images = write_images(tmp_path / "i.parquet", rows=1)
    out = "--model", model.parent, "--out", tmp_path / "p.parquet"
    done = galaxymill("predict", images, *out, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
