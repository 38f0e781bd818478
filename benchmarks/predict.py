"""Galaxies a second that are predicted on this machine's cores, beside Zoobot 2.9's own predict().

Whole processes as a user runs them, start-up included, from JPEGs of 424 pixels to files; turn by
turn, the best of two rounds counts. Ours gives 5 samples, their summary columns and embeddings,
Zoobot one pass of its network as a CSV. Its older versions drew samples by as many passes:
``gain_of_five`` is derived, five times the time of its one pass over ours. Zoobot computes in 32
bits, 64 images a batch, and reads them in one process more. Weights are random, and only ours are
read from a file. Peak memory is that of a run's largest process: Zoobot's reader is not added.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import peer
import pyarrow as pa
from figures import SHORT, figure
from processes import Run, apart, measure
from pyarrow import csv as arrow_csv
from train import REAL, TREES, simulate

from galaxymill import products
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import ROWS_PER_GROUP, open_product, read_batches

GALAXIES, FEW, SIZE, ROUNDS, REPEATS = (32, 4, 64, 1, 1) if SHORT else (2000, 400, 224, 2, 5)
GOALS = {"efficientnet_b0": ("fp32", 4, 15), "convnext_nano": ("bf16", 2.2, 9)}
"""By encoder: what it computes in when it is trained; times as fast as Zoobot's one pass, and as
five. Random weights do not tell how rounding would change predictions, hence by name."""

if SHORT:
    GOALS = {"test_efficientnet": ("fp32", 4, 15)}
DOMAIN = {"survey": "bench", "recipe": "passthrough", "render_version": 1}


def turn_by_turn(runs: Mapping[Hashable, Callable[[], Run]]) -> dict[Hashable, Run]:
    """Run each once a round; give the least time and the highest peak of each."""
    rounds = [{name: run() for name, run in runs.items()} for _ in range(ROUNDS)]
    return {
        name: run._replace(
            seconds=min(r[name].seconds for r in rounds),
            peak_mb=max(r[name].peak_mb for r in rounds),
        )
        for name, run in rounds[0].items()
    }


@dataclass(frozen=True)
class Sides:
    """Both sides' commands: on what is in ``folder``, from the ``votes.csv`` of ``source``."""

    folder: Path
    source: Path
    tree: Path

    def collect(self, count: int) -> None:
        """Repeat the pictures under other ids: a Parquet for ours, a table for Zoobot."""
        votes = arrow_csv.read_csv(self.source / "votes.csv")
        ids = pa.array([f"g{number:05d}" for number in range(count)])
        table = votes.take(np.arange(count) % len(votes))
        table = table.set_column(table.schema.get_field_index("object_id"), "object_id", ids)
        arrow_csv.write_csv(table, self.folder / f"{count}.csv")
        origin, out = Origin("render", domain=DOMAIN), self.folder / f"{count}.parquet"
        with open_product(out, products.IMAGES, origin) as writer:
            for start in range(0, count, ROWS_PER_GROUP):
                rows = map(self._image, table.slice(start, ROWS_PER_GROUP).to_pylist())
                writer.write(pa.Table.from_pylist(list(rows), products.IMAGES))

    def _image(self, row: dict) -> dict:
        image = {"bytes": (self.source / row["file_loc"]).read_bytes(), "path": None}
        return {"object_id": row["object_id"], "image": image, "flags": 0}

    def ours(self, encoder: str, count: int, *words: str) -> Run:
        """Predict with our command."""
        program = Path(sys.executable).with_name("galaxymill")
        given = self.folder / f"{count}.parquet", "--model", self.folder / encoder
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            files = "--out", Path(out, "p.parquet"), "--embeddings", Path(out, "e.parquet")
            how = "--device", "cpu", "--set", "samples=5", *words
            return measure([program, "predict", *given, *files, *how], peer.ENVIRONMENT)

    def zoobot(self, encoder: str, count: int, precision: str) -> Run:
        """Let Zoobot predict."""
        files = {"catalog": self.folder / f"{count}.csv", "out": self.folder / "zoobot.csv"}
        how = {"tree": self.tree, "encoder": encoder, "size": SIZE, "precision": precision}
        return measure(
            peer.command("zoobot_predict.py", images=self.source, **files, **how),
            peer.ENVIRONMENT,
        )


def write_models(folder: Path, tree: Path) -> bool:
    """Write models with random weights; tell whether this processor computes in bfloat16."""
    import torch

    from galaxymill.models.devices import has_bfloat16
    from galaxymill.models.network import Network, describe_encoder
    from galaxymill.models.settings import TrainSettings
    from galaxymill.models.store import ModelCard, write_model, write_weights
    from galaxymill.tasks import VoteTask
    from galaxymill.trees.tree import load_tree

    torch.manual_seed(1)
    task, origin = VoteTask(load_tree(tree)), Origin("train", domain=DOMAIN).to_dict()
    for name in GOALS:
        settings, encoder = TrainSettings(encoder=name, image_size=SIZE), describe_encoder(name)
        (folder / name).mkdir()
        digest = write_weights(folder / name, [Network(encoder, task, settings)])
        card = ModelCard(task, settings, encoder.to_dict(), digest, origin, {})
        write_model(folder / name, card)
    return has_bfloat16(torch.device("cpu"))


def compare(sides: Sides, encoder: str, has_bfloat16: bool) -> None:
    """Print the figures of an encoder."""
    name, (precision, once, five) = f"predict_{encoder}", GOALS[encoder]
    if not has_bfloat16:
        precision = "fp32"
    runs: dict[Hashable, Callable[[], Run]] = {
        "": partial(sides.ours, encoder, GALAXIES, "--precision", precision),
        "_zoobot": partial(sides.zoobot, encoder, GALAXIES, "32-true"),
    }
    if has_bfloat16:
        # Without it, imitating it takes seven times as long.
        other = {"fp32": "bf16", "bf16": "fp32"}[precision]
        runs[f"_{other}"] = partial(sides.ours, encoder, GALAXIES, "--precision", other)
        runs["_zoobot_bf16"] = partial(sides.zoobot, encoder, GALAXIES, "bf16-mixed")
    if SHORT and not peer.is_installed():
        runs = {which: run for which, run in runs.items() if "zoobot" not in which}
    best = turn_by_turn(runs)
    for which, run in best.items():
        figure(f"{name}{which}", GALAXIES / run.seconds, "galaxies/s")
    figure(f"{name}_peak_memory", best[""].peak_mb, "MB", at_most=1600)
    if "_zoobot" in best:
        figure(f"{name}_zoobot_peak_memory", best["_zoobot"].peak_mb, "MB")
        gain = best["_zoobot"].seconds / best[""].seconds
        figure(f"{name}_gain", gain, "times", at_least=once)
        figure(f"{name}_gain_of_five", 5 * gain, "times", at_least=five)


def thirty_samples(model: Path, images: Path) -> float:
    """Give how many % longer 30 samples take than one, the interval columns left aside."""
    from galaxymill.inference.engine import Engine
    from galaxymill.inference.predictor import Predictor
    from galaxymill.inference.settings import PredictSettings
    from galaxymill.tasks.votes import posterior

    rows = [row for batch in read_batches(images) for row in batch.to_pylist()]
    ids, files = [row["object_id"] for row in rows], [row["image"]["bytes"] for row in rows]
    asked = [PredictSettings(samples=samples, device="cpu") for samples in (1, 30)]
    predictors = [Predictor.load(model, each, Engine.choose(each, len(ids))) for each in asked]
    tree, best = predictors[0].card.task.tree, [math.inf] * 2
    for _ in range(REPEATS):
        for place, predictor in enumerate(predictors):
            start = time.perf_counter()
            alpha, _ = predictor.predict(ids, files)
            posterior.mean_fractions(alpha, tree)
            posterior.proportion_asked(alpha, tree)
            for question in tree.questions:
                posterior.mutual_information(alpha, question)
            best[place] = min(best[place], time.perf_counter() - start)
    return 100 * (best[1] / best[0] - 1)


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, source, tree = Path(temporary), REAL, TREES / "gz2.yaml"
        if SHORT or not REAL.is_dir():
            source, tree = folder, TREES / "decals_dr5.yaml"
            simulate(folder)
        sides = Sides(folder, source, tree)
        for count in (GALAXIES, FEW, 10 * FEW):
            sides.collect(count)
        has_bfloat16 = apart(write_models, folder, tree)
        if not has_bfloat16:
            print("the goals are for processors that compute in bfloat16; this one does not")
        for encoder in GOALS:
            compare(sides, encoder, has_bfloat16)
        first = next(iter(GOALS))
        runs = {count: partial(sides.ours, first, count) for count in (FEW, 10 * FEW)}
        few, many = (run.peak_mb for run in turn_by_turn(runs).values())
        figure("predict_memory_of_ten_times", 100 * (many / few - 1), "%", at_most=5)
        # In this process, hence last.
        slower = thirty_samples(folder / first, folder / f"{FEW}.parquet")
        figure("predict_thirty_samples", slower, "%", at_most=5)


if __name__ == "__main__":
    main()
