"""How a network is made to compute fast: layout, precision, folding, compiling, batch size."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from galaxymill.errors import UserError
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.devices import choose_device, choose_precision
from galaxymill.models.fold import folded
from galaxymill.models.network import Network
from galaxymill.tasks.heads import Head
from galaxymill.tasks.task import Task

BATCH_SIZES = {"cpu": 16, "cuda": 256}
"""On a CPU, what a step works on stays in its caches: 64 images are a tenth slower than 16."""

REPAID_FROM = 20_000
"""Images from which compiling is worth its half minute: it gains 8 % of a ConvNeXt's time."""

PROBES, TOLERANCE = 12, 0.003
"""Images that a precision is tried on, and how much it may change a prediction: real images differ
more than these, by up to 0.01."""

logger = logging.getLogger("galaxymill")


class Engine:
    """Where and how encoders compute, from images to `features`.

    ``precision`` is that of the encoder: float32, or what autocast takes; see `check_precision`.
    ``batch_size``, images a step, is halved for good when the device has no memory for it.
    """

    def __init__(
        self,
        device: torch.device,
        precision: torch.dtype = torch.float32,
        batch_size: int = 0,
        compiled: bool = False,
    ) -> None:
        self.device = device
        self._compute_in(precision)
        self.batch_size = batch_size or BATCH_SIZES[device.type]
        self.compiled = compiled

    @classmethod
    def choose(cls, settings: PredictSettings, images: int) -> "Engine":
        """Choose as the settings say, for a number of images, each of whose views counts."""
        device = choose_device(settings.device)
        precision = choose_precision(settings.precision, device)
        compiled = {"on": True, "off": False}.get(settings.compile, images >= REPAID_FROM)
        return cls(device, precision, settings.batch_size, compiled and _can_compile(device))

    def __str__(self) -> str:
        kind = str(self.precision).removeprefix("torch.")
        more = ", compiled" if self.compiled else ""
        return f"{self.device} in {kind}, {self.batch_size} images a step{more}"

    def prepare(self, network: Network, size: int) -> nn.Module:
        """Give a fast copy of a network's encoder, which must be in evaluation mode.

        It takes normalised images (n, 3, size, size) to features (n, f).
        """
        encoder = folded(network.encoder, size).to(self.device)
        return encoder.to(memory_format=torch.channels_last)

    def check_precision(self, network: Network, encoder: nn.Module, task: Task, size: int) -> None:
        """Compute more precisely, for good, where rounding would change predictions of the task.

        Eight bits of mantissa add the same error in every pixel of dark sky where there is batch
        normalisation, and may change a fraction by 0.1; with layer normalisation they do not. So it
        is tried, on images that are the same for every partition. ``encoder`` is from `prepare`.
        """
        if self.precision == torch.float32:
            return
        images = probe_images(size).to(self.device)
        with torch.inference_mode():
            plain = network.features(images)
        while self.precision != torch.float32:
            with torch.inference_mode():
                off = shift(network.head, task, plain, self.features(network, encoder, images))
            if off <= TOLERANCE:
                return
            message = f"{self.precision} would shift this model's predictions by {off:.1g}"
            logger.info("predict: %s: not used", message.removeprefix("torch."))
            finer = self.device.type == "cuda" and self.precision == torch.bfloat16
            self._compute_in(torch.float16 if finer else torch.float32)

    def _compute_in(self, precision: torch.dtype) -> None:
        self.precision = precision
        if self.device.type == "cuda" and precision == torch.float32:
            # float32 is to mean float32: TensorFloat-32 has 10 bits.
            torch.backends.cudnn.allow_tf32 = False

    def compile(self, encoder: nn.Module, size: int) -> nn.Module:
        """Compile a prepared encoder, if that is chosen and works."""
        if not self.compiled:
            return encoder
        if self.device.type == "cpu":
            import torch._inductor.config as inductor

            inductor.freezing = True
        compiled: Any = torch.compile(encoder, dynamic=False)
        example = torch.zeros((self.batch_size, 3, size, size), device=self.device)
        try:
            with torch.inference_mode(), self._autocast():
                compiled(example.contiguous(memory_format=torch.channels_last))
        except Exception as error:
            # Whatever the compiler's fault, the network works without it.
            logger.warning("not compiled: %s", str(error).strip().splitlines()[0])
            self.compiled = False
            return encoder
        return compiled  # type: ignore[no-any-return]

    def _autocast(self) -> Any:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def features(self, network: Network, encoder: nn.Module, pixels: Tensor) -> Tensor:
        """Features (n, f), float32, of images (n, 3, size, size), uint8, a batch at a time.

        Both are on the device. ``encoder`` is the network's, from `prepare`. Raises UserError when
        the device has no memory even for one image.
        """
        with self._autocast():
            found = list(self._batches(encoder, network, pixels))
        if not found:
            return torch.empty((0, network.channels), device=self.device)
        return torch.cat(found)

    def _batches(
        self, encode: Callable[[Tensor], Tensor], network: Network, pixels: Tensor
    ) -> Iterator[Tensor]:
        start = 0
        while start < len(pixels):
            part = pixels[start : start + self.batch_size]
            count = len(part)
            if self.compiled and count < self.batch_size:
                # Another shape would be compiled anew.
                part = torch.cat([part, part[-1:].expand(self.batch_size - count, -1, -1, -1)])
            try:
                yield encode(network.normalised(part))[:count].float()
            except torch.OutOfMemoryError:
                self._halve_batch()
                continue
            start += count

    def _halve_batch(self) -> None:
        if self.batch_size == 1:
            raise UserError(
                f"{self.device}: out of memory with one image at a time; choose a larger device, "
                "or --device cpu"
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning(
            "%s: out of memory with %d images a step: going on with %d",
            *(self.device, self.batch_size, self.batch_size // 2),
        )
        self.batch_size //= 2


def _can_compile(device: torch.device) -> bool:
    """On a CPU, torch.compile needs a compiler of C++."""
    found = device.type != "cpu" or any(map(shutil.which, ("g++", "clang++", "c++")))
    if not found:
        logger.info("not compiled: there is no compiler of C++")
    return found


def probe_images(size: int) -> Tensor:
    """Draw galaxies on a dark sky, shape (PROBES, 3, size, size), uint8.

    Discs and spheroids, round and flat, faint and bright.
    """
    rng = np.random.default_rng(1)
    y, x = (np.indices((size, size)) - (size - 1) / 2) / size
    images = []
    for number in range(PROBES):
        angle = np.pi * number / PROBES
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        radius = np.hypot(along, across / (0.25 + 0.75 * (number % 4) / 3))
        arms = 1 + 0.6 * (number % 3 == 0) * np.cos(2 * np.arctan2(across, along) + 40 * radius)
        light = np.exp(-radius / (0.04 + 0.02 * (number % 5))) * arms
        light = (60 + 15 * number) * light + 255 * np.exp(-radius / 0.015)
        colour = np.array([1.0, 0.85, 0.7])[:, None, None]
        images.append(light * colour + rng.normal(6, 4, (3, size, size)))
    return torch.from_numpy(np.clip(np.array(images), 0, 255).astype(np.uint8))


def shift(head: Head, task: Task, plain: Tensor, fast: Tensor) -> float:
    """Largest difference of predictions from two sets of features (n, f) of the same images.

    Of a fraction or a probability; of a number, in units of its standard deviation.
    """
    one, other = (head(features)[:, None].cpu().numpy() for features in (plain, fast))
    return task.difference(one, other)
