"""Stage ``evaluate``: a model's predictions against the labels of galaxies it has not seen."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from galaxymill import flags
from galaxymill.errors import UserError
from galaxymill.evaluation.measure import (
    InitialEncoder,
    Measurements,
    measure_images,
    read_pictures,
    stack,
)
from galaxymill.evaluation.probe import ProbePredictor, load_probe
from galaxymill.evaluation.sample import MAX_FITTED, NEAR_ARCSEC, Sample, choose
from galaxymill.images.pixels import ImageSource, RowGroup
from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.store import is_probe
from galaxymill.reporting.plots import own_style
from galaxymill.reporting.report import Report, Section
from galaxymill.statistics.covariates import read_covariates
from galaxymill.storage.atomic import atomic_tree, exclusive
from galaxymill.storage.digest import sha256_json
from galaxymill.storage.origin import Origin, content_digest
from galaxymill.tasks.report import EvaluationData, ReportContent

logger = logging.getLogger("galaxymill")


def evaluate(
    votes: Sequence[Path],
    images: Sequence[Path],
    model: Path,
    out: Path,
    settings: PredictSettings,
    catalogs: Sequence[Path] = (),
    truth: Path | None = None,
    split: str = "",
    train: Sequence[Path] = (),
    threads: int = 0,
    features: Path | None = None,
) -> None:
    """Compare a model's predictions with labels of galaxies that it has not learned from.

    Parameters
    ----------
    votes : sequence of Path
        ``votes.parquet`` of the labels; several for a model of several trees.
    images : sequence of Path
        Where the labelled galaxies' images are, see `galaxymill.images.pixels.image_files`.
    model : Path
        ``model.yaml``; the name of its folder is the model's.
    out : Path
        ``metrics.json``, written last; beside it the tables, the plots and ``report.html``.
    settings : PredictSettings
        How the model predicts.
    catalogs : sequence of Path
        ``objects.parquet``, whose numeric columns errors are set against.
    truth : Path, optional
        ``truth.parquet`` of a simulated sky.
    split : str
        ``test`` or ``val`` of ``votes``, ``all`` of labels that were kept apart, or ``folds``:
        each galaxy that a cross-validated model has learned from, by the member that has not.
        Empty: ``folds`` for such a model, else ``test``.
    train : sequence of Path
        For ``all``: the labels that the baselines are to learn from.
    threads : int
        Of the CPU; 0: torch's default.
    features : Path, optional
        Of a probe: ``features.csv``, the list of the partitions, beside their features.

    Raises
    ------
    UserError
        When nothing is left to evaluate on, or ``all`` asks for labels that were learned from.
    """
    if threads:
        torch.set_num_threads(threads)
    predictor = load_probe(model, features) if is_probe(model) else Predictor.load(model, settings)
    card = predictor.card
    folds = card.settings.folds
    split = split or ("folds" if folds else "test")
    sample = choose(votes, train, split, card.task, card.origin["inputs"], folds)
    if isinstance(predictor, ProbePredictor):
        sample = predictor.find(sample, votes)
    source = ImageSource.open(images)
    origin = _origin(sample, source, predictor.card.digest, settings, catalogs, truth, split)
    with exclusive(out) as waited:
        if waited and _is_made(out, origin):
            return
        encoder, without = _initial_encoder(predictor, sample)
        wanted = {*sample.fitted, *sample.test}
        unfit = flags.unfit_bits(card.settings.unfit)
        groups = source.find(wanted, unfit)
        if lacking := source.lacking(wanted, groups, unfit):
            logger.warning("evaluate: without a fit image: %s", lacking)
        measured = measure_images(sample, groups, predictor, encoder)
        data = _evaluation_data(sample, measured, groups, images, catalogs, truth)
        with own_style():
            content = card.task.report(data)
            if isinstance(predictor, ProbePredictor):
                content = predictor.with_curve(content)
            report = _report(content, model.parent.name, sample, measured, split, origin, without)
            with atomic_tree(out.parent, out.name) as folder:
                report.write(folder, out.name)
    logger.info("evaluate: %s", report.headline)


def _origin(
    sample: Sample,
    source: ImageSource,
    model: str,
    settings: PredictSettings,
    catalogs: Sequence[Path],
    truth: Path | None,
    split: str,
) -> Origin:
    inputs = {**sample.digests, "images": source.digest, "model": model}
    inputs |= {f"catalog_{n}": content_digest(path) for n, path in enumerate(catalogs, 1)}
    if truth is not None:
        inputs["truth"] = content_digest(truth)
    return Origin("evaluate", {"posterior": settings.posterior(), "split": split}, inputs)


def _is_made(out: Path, origin: Origin) -> bool:
    try:
        made = json.loads(out.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(made, dict) and made.get("origin") == origin.to_dict()


def _initial_encoder(
    predictor: Predictor | ProbePredictor, sample: Sample
) -> tuple[InitialEncoder | None, str]:
    """Build the encoder as it was before training, or say why it is not available."""
    if not sample.train or isinstance(predictor, ProbePredictor):
        return None, ""
    card = predictor.card
    try:
        return InitialEncoder(card.settings, card.task, predictor.engine.device), ""
    except UserError as error:
        return None, f"The baseline on the frozen encoder is left out: {error}."


def _evaluation_data(
    sample: Sample,
    measured: Measurements,
    groups: Sequence[RowGroup],
    images: Sequence[Path],
    catalogs: Sequence[Path],
    truth: Path | None,
) -> EvaluationData:
    """Put predictions beside labels, for the galaxies that have a fit image."""
    tested = [key for key in sample.test if key in measured.samples]
    if not tested:
        places = ", ".join(str(path) for path in images[:3]) or "no file"
        raise UserError(
            f"none of the {len(sample.test)} galaxies to evaluate has a fit image; looked in: "
            f"{places}{', …' if len(images) > 3 else ''}"
        )
    fitted = [key for key in sample.fitted if key in measured.features]
    features = {
        name: (stack(found, fitted), stack(found, tested))
        for name, found in (("ridge", measured.features), ("ridge_encoder", measured.encoder))
        if fitted and found
    }
    labels = np.stack([sample.test[key] for key in tested])
    shape = (-1, *labels.shape[1:])
    train = np.array(list(sample.train.values()), dtype=np.float64).reshape(shape)
    return EvaluationData(
        object_ids=tested,
        labels=labels,
        samples=np.stack([measured.samples[key] for key in tested]).astype(np.float64),
        train_labels=train if len(train) else labels,
        fitted_labels=np.array([sample.train[key] for key in fitted]).reshape(shape),
        features=features,
        covariates=read_covariates(catalogs, tested),
        truth=truth,
        pictures=partial(read_pictures, groups),
    )


def _report(
    content: ReportContent,
    name: str,
    sample: Sample,
    measured: Measurements,
    split: str,
    origin: Origin,
    without: str,
) -> Report:
    counts = {
        "model": name,
        "split": split,
        "n_test": len(measured.samples),
        "n_train": len(sample.train),
        "n_fitted": sum(key in sample.train for key in measured.features),
        "known_votes": sample.known_votes,
        "skipped": {
            "near_training": sample.near,
            "without_image": len(sample.test) - len(measured.samples),
        },
    }
    metrics: dict[str, Any] = {**counts, **content.metrics}
    metrics |= {"origin": origin.to_dict(), "digest": sha256_json(metrics)}
    text = [_sample_sentence(counts), _baseline_sentence(counts), without]
    about = Section("Sample", [paragraph for paragraph in text if paragraph])
    digests = ", ".join(f"{role} {digest[:16]}" for role, digest in origin.inputs.items())
    return Report(
        f"Evaluation of {name}",
        content.headline,
        [about, *content.sections],
        metrics,
        f"Content digests: {digests}; this evaluation {metrics['digest'][:16]}. metrics.json holds "
        "every number of this page, the CSV files its tables, the SVG files its plots.",
    )


def _sample_sentence(counts: dict[str, Any]) -> str:
    """Say which galaxies were compared; plain text."""
    origins = {
        "test": "galaxies of the test split, which it has not learned from",
        "val": "galaxies of the validation split, which chose its best epoch: these errors are "
        "too low",
        "all": "galaxies of labels that were kept apart from training",
        "folds": "galaxies, each by the one member that has not learned from it "
        "(cross-validation). Where that member is a network, the fold of a galaxy also chose its "
        "best epoch, so errors are slightly too low; the mean of all members, which a catalogue "
        "has, usually has lower ones than one member",
    }
    skipped = counts["skipped"]
    text = (
        f"The model predicted {counts['n_test']} {origins[counts['split']]}. Left out: "
        f"{skipped['near_training']} within {NEAR_ARCSEC:g} arcsec of a training galaxy, and "
        f"{skipped['without_image']} without a fit image."
    )
    if counts["split"] != "all" and not counts["known_votes"]:
        text += (
            " The model learned from another file of labels: these galaxies are new to it only if "
            "both files were split by the same rule."
        )
    return text


def _baseline_sentence(counts: dict[str, Any]) -> str:
    """Say what the baselines learned from; plain text."""
    if not counts["n_train"]:
        judged = counts["split"] == "folds"
        return (
            f"{'Every galaxy is judged' if judged else 'No training galaxies were given'}: the "
            "constants are fitted to the evaluated galaxies themselves, the best that any constant "
            "can do, and there are no linear baselines."
        )
    limit = f" (at most {MAX_FITTED}, drawn at random)" if counts["n_fitted"] == MAX_FITTED else ""
    return (
        f"The constant baselines are fitted to {counts['n_train']} training galaxies, the linear "
        f"ones to the {counts['n_fitted']} of them that have a fit image{limit}."
    )
