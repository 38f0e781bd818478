"""Stage ``evaluate``: a model's predictions against the votes on galaxies it has not seen."""

import csv
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.evaluation.baselines import predict_baselines
from galaxymill.evaluation.distributions import Counts, Values
from galaxymill.evaluation.features import FEATURE_NAMES, image_features
from galaxymill.evaluation.metrics import MIN_VOTES, Comparison, compare, summarise
from galaxymill.evaluation.page import write_page
from galaxymill.evaluation.plots import draw_all, gallery_order
from galaxymill.images.decode import read_raster
from galaxymill.progress import progress
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import column_values, read_batches
from galaxymill.tables import read_table
from galaxymill.votes.tree import Tree

if TYPE_CHECKING:
    from galaxymill.inference.predictor import Predictor

MAX_PICTURES = 100
"""Pictures kept for the gallery: more than it shows, since some prove unfit."""

Votes = dict[str, npt.NDArray[np.int64]]

logger = logging.getLogger("galaxymill")


@dataclass
class _Seen:
    """What the images gave, by ``object_id``."""

    features: dict[str, Values] = field(default_factory=dict)
    concentrations: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)


def evaluate(votes: Path, images: Sequence[Path], model: Path, out: Path, samples: int) -> None:
    """Compare a model's predictions with votes on the galaxies of the test split.

    Parameters
    ----------
    votes : Path
        ``votes.parquet`` of the labels that the model was trained on.
    images : sequence of Path
        Images products that hold the labelled galaxies; other galaxies are passed over.
    model : Path
        ``model.yaml``; the name of its folder is the model's.
    out : Path
        ``metrics.json``, written last; beside it ``metrics.csv``, the plots and
        ``report.html``.
    samples : int
        Monte-Carlo samples of each posterior.

    Raises
    ------
    UserError
        When no test galaxy has votes and a fit image, or a galaxy has two images.
    """
    from galaxymill.inference.predictor import Predictor

    predictor = Predictor.load(model, samples=samples)
    inputs = {
        "votes": read_record(votes).digest,
        "images": sha256_json([read_record(path).digest for path in images]),
        "model": predictor.digest,
    }
    origin = Origin("evaluate", {"samples": samples}, inputs)
    with exclusive(out) as waited:
        if waited and _is_made(out, origin):
            return
        train, test = _read_votes(votes, predictor.tree)
        seen = _look(train, test, images, predictor)
        comparison, n_train = _compare(train, test, seen, predictor.tree, images)
        labelled = train.keys() | test.keys()
        metrics = {
            "model": model.parent.name,
            "n_test": len(comparison.object_ids),
            "n_train": n_train,
            "min_votes": MIN_VOTES,
            "skipped": {
                "unfit": len(seen.ids - seen.features.keys()),
                "absent": len(labelled - seen.ids),
            },
            **summarise(comparison),
        }
        metrics |= {"origin": origin.to_dict(), "digest": sha256_json(metrics)}
        with atomic_tree(out.parent, out.name) as folder:
            _write(folder, out.name, metrics, comparison, seen.pictures)
    overall = metrics["overall"]
    logger.info("evaluate: %d test galaxies, RMSE %s", metrics["n_test"], overall["rmse"])


def _is_made(out: Path, origin: Origin) -> bool:
    try:
        made = json.loads(out.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(made, dict) and made.get("origin") == origin.to_dict()


def _read_votes(path: Path, tree: Tree) -> tuple[Votes, Votes]:
    """Votes of the training and of the test galaxies, by ``object_id`` and in its order."""
    table = read_table(path, ["object_id", "split", *tree.columns]).sort_by("object_id")
    columns = [table[column].to_numpy() for column in tree.columns]
    counts = np.stack(columns, axis=1, dtype=np.int64)
    rows = list(zip(*(column_values(table, name) for name in ("object_id", "split")), strict=True))
    train, test = (
        {key: counts[row] for row, (key, split) in enumerate(rows) if split == wanted}
        for wanted in ("train", "test")
    )
    if not test:
        raise UserError(
            f"{path}: no galaxy is in the test split, so there is nothing to evaluate on; the "
            "labels' splits have test: 0 or there are too few galaxies: give test a larger share"
        )
    return train, test


def _look(train: Votes, test: Votes, images: Sequence[Path], predictor: "Predictor") -> _Seen:
    """Measure the labelled galaxies and predict those to test, one batch of images at a time."""
    seen = _Seen()
    unfit = flags.unfit_bits(predictor.card.settings.unfit)
    for_gallery = set(sorted(test, key=gallery_order)[:MAX_PICTURES])
    total = sum(pq.read_metadata(path).num_rows for path in images)
    with progress("evaluate", total) as advance:
        for path in images:
            for batch in read_batches(path, ["object_id", "image", "flags"]):
                wanted = train.keys() | test.keys()
                pictures = dict(_fit_pictures(batch, wanted, unfit, seen.ids, path))
                for key, picture in pictures.items():
                    seen.features[key] = image_features(read_raster(picture))
                keys = [key for key in pictures if key in test]
                if keys:
                    alpha, _ = predictor.predict(keys, [pictures[key] for key in keys])
                    seen.concentrations |= dict(zip(keys, alpha, strict=True))
                seen.pictures |= {key: pictures[key] for key in keys if key in for_gallery}
                advance(batch.num_rows)
    return seen


def _fit_pictures(
    batch: pa.Table, wanted: set[str], unfit: int, seen: set[str], path: Path
) -> Iterator[tuple[str, bytes]]:
    """Fit pictures of wanted galaxies, by ``object_id``; every wanted one is noted in ``seen``."""
    asked = pa.array([key in wanted for key in column_values(batch, "object_id")])
    for row in batch.filter(asked).to_pylist():
        key, image = row["object_id"], row["image"]
        if key in seen:
            raise UserError(
                f"{path}: object_id {key!r} has an image in this and in another place; name "
                "each galaxy's images once"
            )
        seen.add(key)
        if image and image["bytes"] and not row["flags"] & unfit:
            yield key, image["bytes"]


def _compare(
    train: Votes, test: Votes, seen: _Seen, tree: Tree, images: Sequence[Path]
) -> tuple[Comparison, int]:
    """Put predictions and baselines beside the votes; also the number of training galaxies."""
    tested = [key for key in test if key in seen.concentrations]
    learned = [key for key in train if key in seen.features]
    if not tested:
        places = ", ".join(str(path) for path in images[:3]) or "no file"
        raise UserError(
            f"none of the {len(test)} test galaxies has a fit image; looked in: {places}"
            f"{', …' if len(images) > 3 else ''}"
        )
    train_votes: Counts = np.array([train[key] for key in learned], dtype=np.int64)
    baselines = predict_baselines(
        tree,
        train_votes.reshape(-1, len(tree.columns)),
        _matrix(seen, learned),
        _matrix(seen, tested),
    )
    votes = np.stack([test[key] for key in tested])
    concentrations = np.stack([seen.concentrations[key] for key in tested]).astype(np.float64)
    return compare(tree, tested, votes, concentrations, baselines), len(learned)


def _matrix(seen: _Seen, keys: Sequence[str]) -> Values:
    rows = np.array([seen.features[key] for key in keys], dtype=np.float64)
    return rows.reshape(-1, len(FEATURE_NAMES))


def _write(
    folder: Path,
    name: str,
    metrics: dict[str, Any],
    comparison: Comparison,
    pictures: dict[str, bytes],
) -> None:
    plain = json.dumps(metrics, indent=1, allow_nan=False, ensure_ascii=False)
    (folder / name).write_text(plain + "\n", encoding="utf-8")
    _write_table(folder / "metrics.csv", metrics)
    draw_all(folder, comparison, metrics, pictures)
    write_page(folder / "report.html", metrics, folder)


def _write_table(path: Path, metrics: dict[str, Any]) -> None:
    """Write one row per answer."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        kinds = ("constant", "ridge")
        baselines = [f"{kind}_{error}" for kind in kinds for error in ("rmse", "mae")]
        writer.writerow(["question", "answer", "n", "rmse", "mae", *baselines, "noise_floor_rmse"])
        for question, scores in metrics["questions"].items():
            for answer, s in scores["answers"].items():
                errors = [
                    s["baselines"][kind][error] for kind in kinds for error in ("rmse", "mae")
                ]
                row = [s["n"], s["rmse"], s["mae"], *errors, s["noise_floor_rmse"]]
                writer.writerow([question, answer, *row])
