"""Zoobot 2.9's recipe, for both scripts: its tree model, its views, its way to read images."""

import argparse
import logging
import warnings
from pathlib import Path

import lightning
import pandas as pd
import torch
import yaml
from galaxy_datasets.pytorch.galaxy_datamodule import CatalogDataModule
from galaxy_datasets.transforms import (
    default_view_config,
    get_galaxy_transform,
    minimal_view_config,
)
from zoobot.pytorch.training.finetune import FinetuneableZoobotTree
from zoobot.shared.schemas import Schema

GZ2 = Path(__file__).resolve().parents[2] / "config" / "trees" / "gz2.yaml"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options that the scripts share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--images", type=Path, default=Path(), help="folder that file_loc is in")
    options.add_argument("--tree", type=Path, default=GZ2)
    options.add_argument("--size", type=int, default=224, help="pixels")
    options.add_argument("--batch", type=int, default=64, help="galaxies a step")
    options.add_argument("--workers", type=int, default=1, help="processes that read images")
    options.add_argument("--seed", type=int, default=1)
    return options


def read_catalog(path: Path, images: Path) -> pd.DataFrame:
    """Read a table of ``object_id``, ``file_loc`` and votes into Zoobot's form."""
    catalog = pd.read_csv(path, dtype={"object_id": str})
    catalog["file_loc"] = [str(images / file) for file in catalog["file_loc"]]
    return catalog.rename(columns={"object_id": "id_str"})


def make_schema(tree: Path, catalog: pd.DataFrame) -> Schema:
    """Take the questions of a tree that the table has; only their answers matter to the loss."""
    questions = yaml.safe_load(tree.read_text())["questions"]
    pairs = {name: [f"_{answer}" for answer in q["answers"]] for name, q in questions.items()}
    asked = {
        name: answers
        for name, answers in pairs.items()
        if {name + answer for answer in answers} <= set(catalog.columns)
    }
    return Schema(asked, dict.fromkeys(asked))


def make_model(encoder: torch.nn.Module, schema: Schema, **settings: object):
    """Zoobot's tree: dropout of 0.5, concentrations of 1 to 101, layer decay of 0.75."""
    return FinetuneableZoobotTree(schema=schema, encoder=encoder, prog_bar=False, **settings)


def make_data(
    schema: Schema, options: argparse.Namespace, normalise: dict | None = None, **catalogs
) -> CatalogDataModule:
    """Its data module with its default views; ``normalise`` holds mean and std per colour."""
    views = default_view_config(), minimal_view_config()
    for view in views:
        view.output_size = options.size
        view.normalize = normalise or False
    train, test = map(get_galaxy_transform, views)
    return CatalogDataModule(
        label_cols=schema.label_cols,
        train_transform=train,
        test_transform=test,
        batch_size=options.batch,
        num_workers=options.workers,
        seed=options.seed,
        **catalogs,
    )


def start(options: argparse.Namespace) -> None:
    """Seed everything; only results are printed."""
    warnings.filterwarnings("ignore")
    for name in (None, "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    lightning.seed_everything(options.seed, workers=True)
