"""A space: the small file that turns embeddings into features, and its card ``space.yaml``.

Features are the embedding's principal components, rounded to a grid so coarse that products and
sums of them are exact in double precision: a likeness is the same to the last bit, whatever is
computed first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from galaxymill.errors import UserError
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.storage.digest import sha256_file, sha256_json
from galaxymill.storage.origin import read_record
from galaxymill.yaml_file import read_yaml

if TYPE_CHECKING:
    from galaxymill.spaces.placer import Placer

SPACE_FILE = "space.yaml"
WEIGHTS_FILE = "weights.safetensors"
GRID = 1024
"""Features are multiples of 1/1024."""
ROWS = 256
"""Galaxies that are projected at once: always so many, as sums may round by the size of a batch;
few enough to stay in the processor's cache."""
LARGEST = 64.0
"""Of a feature; beyond it the galaxy has none, and is flagged."""
_STEPS = int(LARGEST * GRID)
_HALVES = (np.arange(-_STEPS, _STEPS) / GRID).astype(np.float16)
"""Each feature that there can be."""
_FAR = 10.0
_MIDDLE = 10_000
"""Galaxies of a sample whose median is taken for that of all."""
_BLOCK = 4096
"""Embeddings that are in double precision at once."""
FIRST_DEVIATION = 4.0
"""Standard deviation of the first component of the sample: the unit of features."""

Doubles = npt.NDArray[np.float64]
Halves = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Space:
    """What is fitted to a sample of embeddings.

    Attributes
    ----------
    embedding : dict
        What embeddings it is of: the model's digest, which member, how its views are pooled.
    settings : SpaceSettings
    mean : ndarray, shape (n_embedding,)
    components : ndarray, shape (components, n_embedding)
        Rows that embeddings are multiplied by.
    deviations : ndarray, shape (components,)
        Standard deviation of each feature in the sample.
    maps : dict of str to Placer
    facts : dict
        Size of the sample, share of the variance; names of the prediction and of the survey, by
        which the products of a space are found.
    """

    embedding: dict[str, Any]
    settings: SpaceSettings
    mean: Doubles
    components: Doubles
    deviations: Doubles
    maps: "dict[str, Placer]"
    facts: dict[str, Any]

    def features(self, embeddings: npt.NDArray[Any]) -> tuple[Halves, npt.NDArray[np.bool_]]:
        """Project embeddings, shape (n, n_embedding), each by itself.

        Returns
        -------
        features : ndarray, shape (n, components), float16
            Zero where there are none.
        good : ndarray of bool, shape (n,)
            False where a number is not finite or too large, or all features are zero.
        """
        found = np.zeros((len(embeddings), len(self.components)), np.float16)
        good = np.zeros(len(embeddings), np.bool_)
        # Scaled by a power of two, which changes no rounding.
        weights, offset = (self.components * GRID).T, (self.components @ self.mean) * GRID
        batch = np.zeros((ROWS, len(self.mean)))
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, len(embeddings), ROWS):
                rows = embeddings[start : start + ROWS]
                some = slice(start, start + len(rows))
                batch[: len(rows)] = rows
                scores = (batch @ weights)[: len(rows)]
                scores -= offset
                np.rint(scores, out=scores)
                good[some] = (np.abs(scores) < _STEPS).all(axis=1) & scores.any(axis=1)
                scores[~good[some]] = 0
                # Looked up: to round each number to half precision takes twice as long.
                places = scores.astype(np.intp)
                places += _STEPS
                _HALVES.take(places, out=found[some], mode="clip")
        return found, good


def fit_components(
    sample: npt.NDArray[np.floating], count: int
) -> tuple[Doubles, Doubles, Doubles, float]:
    """Find the principal components of a sample of embeddings, shape (n, n_embedding).

    Sums are in double precision, block by block: a sample of 200,000 is half a gigabyte as it is.
    Galaxies whose embedding is not finite, or ten times as far from the median as most are, tell
    nothing of the others: they are left out. Signs are such that the largest loading of each
    component is positive. Raises ValueError when all embeddings are the same.

    Returns
    -------
    mean : ndarray, shape (n_embedding,)
    components : ndarray, shape (k, n_embedding)
        Scaled, so that the first feature has the standard deviation ``FIRST_DEVIATION``; k is
        ``count``, or the rank of the sample if that is smaller.
    deviations : ndarray, shape (k,)
        Of the features.
    share : float
        Of the variance that they hold.
    """
    sample = sample[np.isfinite(sample).all(axis=1)]
    if not len(sample):
        raise ValueError("no embedding of the sample is finite")
    middle = np.median(sample[:_MIDDLE].astype(np.float64), axis=0)
    distances = np.concatenate([np.linalg.norm(b - middle, axis=1) for b in _blocks(sample)])
    sample = sample[distances <= _FAR * np.median(distances)]
    mean = sum(block.sum(axis=0) for block in _blocks(sample)) / len(sample)
    centred = (block - mean for block in _blocks(sample))
    covariance = sum(block.T @ block for block in centred) / len(sample)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1].T
    kept = min(count, int((values > values[0] * 1e-12).sum()))
    if kept == 0:
        raise ValueError("all embeddings of the sample are the same")
    largest = np.abs(vectors[:kept]).argmax(axis=1)
    signs = np.sign(vectors[np.arange(kept), largest])
    scale = FIRST_DEVIATION / np.sqrt(values[0])
    components = vectors[:kept] * signs[:, None] * scale
    share = float(values[:kept].sum() / values.sum())
    return mean, components, np.sqrt(values[:kept]) * scale, share


def _blocks(sample: npt.NDArray[np.floating]) -> Iterator[Doubles]:
    for start in range(0, len(sample), _BLOCK):
        yield sample[start : start + _BLOCK].astype(np.float64)


def as_matrix(column: pa.ChunkedArray) -> Halves:
    """Numbers of a column of features, shape (n, components); zeros where it is null."""
    packed = column.combine_chunks()
    width = column.type.byte_width // 2
    data = packed.buffers()[1] or b""
    flat = np.frombuffer(data, "<f2", len(packed) * width, 2 * width * packed.offset)
    return flat.reshape(-1, width)


def require_space(features: Path, space: str) -> None:
    """Refuse a partition's features that are not of the space of this digest."""
    found = read_record(features, "project").origin["inputs"]["space"]
    if found != space:
        raise UserError(
            f"{features}: features of space {found}, but space {space} is meant; project this "
            "partition again, or fit anew what stands on the other space"
        )


def write_space(folder: Path, space: Space, origin: Mapping[str, Any]) -> None:
    """Write ``space.yaml`` and the weights beside it; the digest is over what they say."""
    from safetensors.numpy import save_file

    tensors = {"mean": space.mean, "components": space.components, "deviations": space.deviations}
    for name, placer in space.maps.items():
        state = {key: value.numpy() for key, value in placer.state_dict().items()}
        tensors |= {f"maps.{name}.{key}": value for key, value in state.items()}
    # It writes the memory of an array as it lies, transposed ones too.
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / WEIGHTS_FILE)
    weights = sha256_file(folder / WEIGHTS_FILE)
    plain = {
        "embedding": space.embedding,
        "settings": space.settings.product_settings(),
        "facts": space.facts,
        "weights_sha256": weights,
        "digest": _digest(space.embedding, space.settings, weights),
        "origin": dict(origin),
    }
    (folder / SPACE_FILE).write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")


def _digest(embedding: Mapping[str, Any], settings: SpaceSettings, weights: str) -> str:
    return sha256_json([dict(embedding), settings.product_settings(), weights])


def read_space(path: Path) -> tuple[Space, str]:
    """Read ``space.yaml`` and the weights beside it; gives the digest too.

    Raises
    ------
    UserError
        When one is absent, is not what this version writes, or they do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    plain = read_yaml(path, "a space")
    weights = path.parent / WEIGHTS_FILE
    try:
        settings = SpaceSettings.model_validate(plain["settings"])
        if not weights.is_file() or sha256_file(weights) != plain["weights_sha256"]:
            raise UserError(f"{weights}: not the weights that {path} names; fit the space again")
        tensors = load_file(weights)
        space = Space(
            dict(plain["embedding"]),
            settings,
            tensors["mean"],
            tensors["components"],
            tensors["deviations"],
            {name: _placer(name, tensors) for name in settings.maps},
            dict(plain["facts"]),
        )
        if space.components.shape != (len(space.deviations), len(space.mean)):
            raise ValueError("shapes of its weights do not agree")
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: not a space of galaxymill ({error})") from error
    return space, _digest(space.embedding, settings, plain["weights_sha256"])


def _placer(name: str, tensors: Mapping[str, Any]) -> "Placer":
    import torch

    from galaxymill.spaces.placer import Placer

    prefix = f"maps.{name}."
    state = {
        key.removeprefix(prefix): torch.from_numpy(value)
        for key, value in tensors.items()
        if key.startswith(prefix)
    }
    placer = Placer(len(tensors["deviations"]))
    placer.load_state_dict(state)
    return placer.eval()
