"""What labels are to be learned as, as far as the config says, and models that cannot do it."""

from collections.abc import Iterator
from pathlib import Path

from galaxymill.config.config import Config
from galaxymill.errors import UserError
from galaxymill.models.settings import refused_views
from galaxymill.tasks import VoteTask
from galaxymill.tasks.task import Task
from galaxymill.trees.tree import find_tree, load_tree


def known_task(config: Config, labels: str, trees: Path) -> Task | None:
    """Task of a labelled set by its config; None where only its files define it."""
    chosen = config.labels[labels]
    if chosen.tree is not None:
        return VoteTask(load_tree(find_tree(chosen.tree, trees, f"labels.{labels}.tree")))
    return chosen.settings.task()


def check_models(config: Config, place: str, trees: Path) -> None:
    """Refuse views that labels do not allow, embeddings that cannot be, releases of nothing.

    The parameters are as in `galaxymill.config.files.load_config`. What only files of labels say,
    such as the names of classes, is for training and prediction to refuse.
    """
    for key, message in _refusals(config, trees):
        if message:
            raise UserError(f"{place}: {key}: {message}")


def _refusals(config: Config, trees: Path) -> Iterator[tuple[str, str]]:
    """What may be wrong: the key, and why it is; empty when it is not."""
    tasks: dict[str, list[Task | None]] = {}
    for name, model in config.models.items():
        tasks[name] = [known_task(config, labels, trees) for labels in model.labels] or [None]
        for task in tasks[name]:
            if task is not None:
                yield f"models.{name}.train", refused_views(model.network.views, task)
    for name, prediction in config.predictions.items():
        key, model = f"predictions.{name}", config.models[prediction.model]
        for task in tasks[prediction.model]:
            yield key, prediction.refused(model.network, task)
        if not model.labels and "embeddings" not in prediction.keep:
            yield key, f"model {prediction.model} gives embeddings only; add them to keep"
    for name, own in config.rounds.items():
        for task in tasks[own.model]:
            if not isinstance(task, VoteTask):
                what = task.kind if task else "classes"
                yield f"rounds.{name}.model", f"{own.model} predicts {what}; rounds ask a tree"
            elif own.featured and own.featured not in task.columns:
                allowed = ", ".join(task.columns)
                yield (
                    f"rounds.{name}.featured",
                    f"{own.featured!r} is no answer of the tree of {own.model}; allowed: {allowed}",
                )
    for release, chosen in config.releases.items():
        for name in chosen.predictions:
            model_name = config.predictions[name].model
            if not config.models[model_name].labels:
                yield (
                    f"releases.{release}.predictions",
                    f"{name} holds embeddings only, as its model {model_name} is an encoder alone: "
                    "there is nothing to publish; take it out, or use it in a space",
                )
