"""The network: a timm encoder and a head."""

from dataclasses import asdict, dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from galaxymill.errors import UserError
from galaxymill.models.settings import TrainSettings
from galaxymill.tasks.task import Task

_OURS = ("num_classes", "in_chans", "drop_path_rate")


@dataclass(frozen=True)
class EncoderCard:
    """What builds an encoder again without a hub: a timm architecture, its constructor's arguments.

    Inputs are normalised by ``mean`` and ``std``, one a colour, of pixels in 0–1. ``only_size`` is
    the one image size that it takes, in pixels; 0: any.
    """

    architecture: str
    arguments: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    only_size: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain form, as kept in ``model.yaml``."""
        plain = asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}


def describe_encoder(name: str) -> EncoderCard:
    """Resolve an encoder's name: a timm architecture, with or without a tag, or hub or folder.

    Raises UserError when the hub does not answer, or a folder holds no config of timm's.
    """
    arguments: dict[str, Any] = {}
    if ":" in name:
        from timm.models import _hub

        scheme, place = name.split(":", 1)
        load = {
            "hf-hub": _hub.load_model_config_from_hf,
            "local-dir": _hub.load_model_config_from_path,
        }[scheme]
        try:
            config, architecture, arguments = load(place)
        except Exception as error:
            raise UserError(
                f"encoder {name}: cannot read its config.json: {type(error).__name__}: {error}"
            ) from error
    else:
        try:
            config = timm.models.get_pretrained_cfg(name)
        except RuntimeError as error:
            raise UserError(
                f"encoder {name}: {error}; leave the tag away: {name.split('.')[0]}"
            ) from error
        config = config.to_dict() if config else {}
        architecture = name.split(".")[0]
    mean, std = config.get("mean", (0.5,) * 3), config.get("std", (0.5,) * 3)
    kept = {key: value for key, value in (arguments or {}).items() if key not in _OURS}
    only_size = config["input_size"][-1] if config.get("fixed_input_size") else 0
    return EncoderCard(architecture, kept, tuple(mean), tuple(std), only_size)


class Network(nn.Module):
    """A timm encoder followed by a task's head; each can be called apart."""

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: EncoderCard, task: Task, settings: TrainSettings) -> None:
        super().__init__()
        if encoder.only_size not in (0, settings.image_size):
            raise UserError(
                f"encoder {settings.encoder} takes images of {encoder.only_size} pixels only; "
                f"image_size is {settings.image_size}"
            )
        arguments = {**encoder.arguments, "num_classes": 0, "in_chans": 3}
        # Not every architecture takes stochastic depth.
        if settings.drop_path:
            arguments["drop_path_rate"] = settings.drop_path
        if not task.pooled:
            arguments["global_pool"] = ""
        self.card, self.is_pooled, self.is_handed = encoder, task.pooled, bool(task.handed)
        size = settings.image_size
        try:
            self.encoder = timm.create_model(encoder.architecture, **arguments)
            # Some pool other features than timm's num_features says; some take no small image.
            with torch.no_grad():
                found = self.encoder.eval()(torch.zeros(1, 3, size, size))
            self.encoder.train()
            if found.ndim != (2 if task.pooled else 4):
                raise ValueError(f"its features have shape {tuple(found.shape)}")
            self.channels = int(found.shape[1])
        except Exception as error:
            raise UserError(
                f"encoder {settings.encoder} cannot be built for image_size {size} and drop_path "
                f"{settings.drop_path:g}: {error}; change these, or take another encoder"
            ) from error
        self.head = task.head(self.channels, settings)
        self.register_buffer("mean", torch.tensor(encoder.mean).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor(encoder.std).view(1, 3, 1, 1), False)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Scale images (n, 3, h, w), uint8 or float in 0–255, as the encoder takes them."""
        scaled = (pixels.float() / 255 - self.mean) / self.std
        return scaled.contiguous(memory_format=torch.channels_last)

    def features(self, pixels: Tensor) -> Tensor:
        """Features, as the head takes them, of images (n, 3, h, w), uint8 or float in 0–255."""
        found: Tensor = self.encoder(self.normalised(pixels))
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """Outputs (n, …) of the head for images (n, 3, h, w)."""
        outputs: Tensor = self.head(self.features(pixels))
        return outputs


def pooled(features: Tensor) -> Tensor:
    """Take the mean of a map of features (n, f, h, w); features (n, f) are pooled already."""
    return features.flatten(2).mean(2) if features.ndim > 2 else features
