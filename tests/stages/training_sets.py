"""Small labelled sets whose answer is how bright the image is, and a short way to train on them."""

import csv
import io

import numpy as np
import pyarrow as pa
from PIL import Image
from safetensors.torch import load_file

from galaxymill import products
from galaxymill.models.settings import TrainSettings
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import open_product, write_product
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.training.train import Resources, train
from galaxymill.trees.tree import parse_tree

DOMAIN = {"survey": "toy", "recipe": "decals", "render_version": 1}
VOTES_EACH = 20
FEW = {
    "encoder": "test_efficientnet",
    "image_size": 32,
    "batch_size": 8,
    "epochs": 3,
    "precision": "fp32",
}


def tree(name="toy"):
    questions = {
        f"shape-{name}": {"answers": ["bright", "dark", "odd"]},
        f"bar-{name}": {"answers": ["yes", "no"], "asked_after": [f"shape-{name}_bright"]},
    }
    return parse_tree({"name": name, "questions": questions}, name)


TASKS = {
    "votes": VoteTask(tree()),
    "class": ClassTask(
        parse_tree({"name": "c", "questions": {"ring": {"answers": ["yes", "no"]}}}, "c"),
    ),
    "number": NumberTask("redshift"),
}


def brightness(n, seed=1):
    return np.random.default_rng(seed).uniform(0.1, 0.9, n)


def write_images(path, n, prefix="g", group=16, unfit=(), seed=1, reason=""):
    """One PNG a galaxy, grey with noise; those of ``unfit`` have no image, for a reason."""
    generator = np.random.default_rng(seed)
    rows = []
    for row, bright in enumerate(brightness(n, seed)):
        pixels = generator.normal(255 * bright, 10, (42, 42, 3)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        image = None if row in unfit else {"bytes": file.getvalue(), "path": None}
        bits = (4 if reason else 1) if row in unfit else 0
        told = {"flags": bits, "reason": reason if bits else ""}
        rows.append({"object_id": f"{prefix}{row:03d}", "image": image, **told})
    origin = Origin("render", domain=DOMAIN)
    with open_product(path, products.IMAGES, origin) as writer:
        for start in range(0, n, group):
            writer.write(pa.Table.from_pylist(rows[start : start + group], products.IMAGES))
    return path


def write_votes(path, n, task, prefix="g", val_every=4, seed=1):
    """Labels that follow brightness; every ``val_every``-th galaxy validates."""
    generator, rows = np.random.default_rng(seed + 1), []
    for row, bright in enumerate(brightness(n, seed)):
        if task.kind == "number":
            values = [10 * bright]
        elif task.kind == "class":
            values = [int(bright > 0.5), int(bright <= 0.5)]
        else:
            shape = generator.multinomial(VOTES_EACH, [bright * 0.95, (1 - bright) * 0.95, 0.05])
            values = [*shape.tolist(), *generator.multinomial(shape[0], [0.3, 0.7]).tolist()]
        split = "val" if val_every and row % val_every == 0 else "train"
        labels = dict(zip(task.columns, values, strict=True))
        rows.append({"object_id": f"{prefix}{row:03d}", **labels, "split": split})
    schema = products.votes(task, with_positions=False)
    origin = Origin("labels", {"task": task.to_dict()})
    write_product(path, pa.Table.from_pylist(rows, schema), origin, schema)
    return path


def run(votes, images, folder, **given):
    """Train on one thread of a CPU; give the folder."""
    settings = TrainSettings(**{"device": "cpu", **FEW, **given})
    votes, images = ([path] if not isinstance(path, list) else path for path in (votes, images))
    train(votes, images, folder / "model.yaml", settings, Resources(threads=1))
    return folder


def weights(folder):
    return load_file(folder / "weights.safetensors")


def history(folder):
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_times(rows):
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows
    ]
