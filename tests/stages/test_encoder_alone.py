"""An encoder alone is a model: its embeddings are timm's, and it predicts no more."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from typer.testing import CliRunner

from galaxymill import flags, products
from galaxymill.commands.learning import app
from galaxymill.errors import UserError
from galaxymill.inference.predict import predict
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.alone import take_encoder
from galaxymill.models.initial import package_weights
from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER, LoneEncoderSettings
from galaxymill.models.store import load_networks, read_card, read_features
from galaxymill.spaces.fit import fit_space
from galaxymill.spaces.project import project
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import NoTask

pytest.importorskip(PACKAGE.replace("-", "_"))

SIZE, SIDE, ROWS, PART = 64, 80, 7, "g0-k1-p3"
"""A view of SIZE pixels, at the zoom SIDE / SIZE, is the middle of a picture of SIDE."""

DOMAIN = {"survey": "field", "recipe": "passthrough", "render_version": 1}
CHOSEN = ("image_size=64", "zoom=1.25,1.25", "views=8")
FEATURES = 1280


def pictures(seed=3):
    few = np.random.default_rng(seed).integers(0, 256, (ROWS, 8, 8, 3), np.uint8)
    return few.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2)


def write_images(path):
    rows = []
    for number, pixels in enumerate(pictures()):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        image = {"bytes": file.getvalue(), "path": None}
        gone = number == 2
        bits = flags.BITS["no_coverage"] if gone else 0
        rows.append({"object_id": f"g{number}", "image": None if gone else image, "flags": bits})
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, products.IMAGES)
    write_product(path, table, Origin("render", domain=DOMAIN), products.IMAGES)
    return path


def by_hand():
    """What timm makes of the pictures: mean and deviation of 8 views."""
    encoder = timm.create_model(PACKAGE_ENCODER, num_classes=0)
    encoder.load_state_dict(package_weights(encoder))
    encoder.eval()
    edge = (SIDE - SIZE) // 2
    middle = pictures()[:, edge:-edge, edge:-edge]
    turned = [np.rot90(middle, quarter, (1, 2)) for quarter in range(4)]
    turned += [view[:, :, ::-1] for view in turned]
    found = []
    for view in turned:
        # TensorFlow's EfficientNets take pixels from -1 to 1.
        scaled = torch.tensor(view / 127.5 - 1, dtype=torch.float32).permute(0, 3, 1, 2)
        with torch.no_grad():
            found.append(encoder.forward_features(scaled).mean((2, 3)).numpy())
    return np.mean(found, axis=0), np.std(found, axis=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "model.yaml"
    words = [f"encoder={PACKAGE_ENCODER}", f"weights={PACKAGE}", *CHOSEN]
    sets = [word for one in words for word in ("--set", one)]
    result = CliRunner().invoke(app, ["encoder", str(out), *sets])
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Images, predictions and embeddings of one partition."""
    folder = tmp_path_factory.mktemp("predicted")
    images = write_images(folder / f"images/{PART}.parquet")
    outs = [folder / f"{kind}/{PART}.parquet" for kind in ("predictions", "embeddings")]
    for out in outs:
        out.parent.mkdir()
    chosen = PredictSettings(device="cpu", precision="fp32", pool="mean_std")
    predict(images, model, *outs, chosen)
    return folder


def test_predictions_are_flags_only(folder):
    table = pq.read_table(folder / f"predictions/{PART}.parquet")
    assert table.column_names == ["object_id", "flags"]
    bits = table["flags"].to_pylist()
    # It learned from no labelled images: there is no domain that it could have left.
    assert [flags.names(one) for one in bits if one] == [["no_coverage"]]


def test_embeddings_are_those_of_timm_by_hand(folder):
    table = pq.read_table(folder / f"embeddings/{PART}.parquet")
    assert table["embedding"].is_null().to_pylist() == [number == 2 for number in range(ROWS)]
    found = np.array(table["embedding"].drop_null().to_pylist(), float)
    expected = np.delete(np.concatenate(by_hand(), axis=1), 2, axis=0)
    assert found.shape == (ROWS - 1, 2 * FEATURES)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert expected.std(axis=0).max() > 0.1


def test_embeddings_say_what_made_them(folder, model):
    path = folder / f"embeddings/{PART}.parquet"
    described = pq.read_schema(path).field("embedding").metadata[b"description"].decode()
    for words in (
        PACKAGE_ENCODER,
        "mean over 8 views",
        "standard deviation",
        "std [0.5, 0.5, 0.5]",
    ):
        assert words in described
    origin = read_record(path).origin
    assert origin["parameters"]["pool"] == "mean_std"
    assert origin["inputs"]["model"] == read_card(model).digest


def test_the_model_rebuilds_itself_and_serves_any_survey(model):
    (network,), card = load_networks(model)
    assert card.task == NoTask()
    assert card.domains == []
    assert read_features(model) == network.channels == FEATURES
    assert network.head(torch.zeros(2, 5), torch.ones(2, 3, 5, dtype=torch.bool)).shape == (2, 3, 0)


def test_a_space_is_fitted_and_projected(folder):
    listed = folder / "parts.csv"
    listed.write_text(f"part\n{PART}\n")
    space = folder / "space/space.yaml"
    settings = SpaceSettings(components=4)
    fit_space(listed, folder / "embeddings", folder / "predictions", space, settings)
    out = folder / f"features/{PART}.parquet"
    sources = (folder / f"{kind}/{PART}.parquet" for kind in ("embeddings", "predictions"))
    project(*sources, space, out)
    assert pq.read_table(out)["features"].null_count == 1


def test_it_may_be_the_encoder_of_another_model(model, tmp_path):
    again = tmp_path / "again/model.yaml"
    settings = LoneEncoderSettings(encoder=PACKAGE_ENCODER, weights=str(model), image_size=SIZE)
    take_encoder(again, settings)
    assert read_card(again).origin["inputs"] == {"weights": read_card(model).digest}
    one, other = (load_networks(path)[0][0].encoder.state_dict() for path in (model, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_of_timm_s_is_taken(tmp_path):
    torch.manual_seed(2)
    theirs = timm.create_model("test_efficientnet", num_classes=7)
    save_for_hf(theirs, tmp_path / "hub", safe_serialization=True)
    name = f"local-dir:{tmp_path / 'hub'}"
    settings = LoneEncoderSettings(encoder=name, weights="published", image_size=32)
    take_encoder(tmp_path / "m/model.yaml", settings)
    ours = load_networks(tmp_path / "m/model.yaml")[0][0].encoder.state_dict()
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.items())


def test_weights_that_are_damaged_or_absent_are_refused(tmp_path):
    torch.manual_seed(2)
    save_for_hf(timm.create_model("test_efficientnet"), tmp_path / "hub", safe_serialization=True)
    file = tmp_path / "hub/model.safetensors"
    tensors = load_file(file)
    tensors["conv_stem.weight"][0] = np.nan
    save_file(tensors, file)
    out = tmp_path / "m/model.yaml"
    name = f"local-dir:{tmp_path / 'hub'}"
    settings = LoneEncoderSettings(encoder=name, weights="published", image_size=32)
    with pytest.raises(UserError, match="holds NaN or infinity"):
        take_encoder(out, settings)
    file.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        take_encoder(out, settings)
    assert not out.exists()


def test_random_weights_are_refused_by_the_command(tmp_path):
    words = ["encoder", str(tmp_path / "model.yaml"), "--set", "encoder=resnet18"]
    result = CliRunner().invoke(app, [*words, "--set", "weights=random"])
    assert isinstance(result.exception, UserError)
    assert "must have learned elsewhere" in str(result.exception)
