"""How well fine-tuning predicts volunteers' votes, beside Zoobot's own: same images, same time.

Both start from the same ImageNet weights and learn from the same galaxies of a folder of
pictures, for so many minutes and with several seeds; both are judged on others. Predictions are
kept under ``--out`` and, as long as nothing that is given changes, not made again: delete them
after a change of the code. Not part of ``make bench``: it takes two hours.

    make bench-accuracy ARGS="--minutes 20 --seeds 1 2 3"
    make bench-accuracy ARGS="--test-votes other/votes.csv --test-images other"
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import accuracy_scores as scores
import numpy as np
import pandas as pd
import peer
import pyarrow.parquet as pq
import yaml
from accuracy_scores import Counts, Truth, Values
from figures import figure

from galaxymill.models.settings import TrainSettings
from galaxymill.storage.digest import sha256_json
from galaxymill.trees.tree import Tree, load_tree

ROOT = Path(__file__).resolve().parents[1]
GZ2 = ROOT.parent / "shared" / "data" / "gz2_sdss_jpeg"
TREE = ROOT / "config" / "trees" / "gz2.yaml"
SIDES = ("galaxymill", "zoobot")
SAMPLES = 5
FEWEST_GALAXIES = 100
"""Coverage and likelihood of a question are judged when so many galaxies have votes on it."""

EXAMPLE = ROOT / "config" / "few_labels.yaml"


def options() -> argparse.Namespace:
    """Read the command line."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--data", type=Path, default=GZ2, help="folder with votes.csv")
    known.add_argument("--held-out", type=float, default=0.3, help="share that is judged on")
    known.add_argument("--val", type=float, default=0.15, help="share of the others to validate")
    known.add_argument("--test-votes", type=Path, help="judge on these; nothing is held out")
    known.add_argument("--test-images", type=Path, help="folder that their file_loc is in")
    known.add_argument("--minutes", type=float, default=20)
    known.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    known.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    known.add_argument("--set", nargs="*", default=[], help="key=value for our training")
    known.add_argument("--out", type=Path, default=ROOT / "results" / "accuracy")
    return known.parse_args()


def galaxymill(*words: object) -> None:
    """Run a command of ours."""
    program = Path(sys.executable).with_name("galaxymill")
    if subprocess.run([program, *map(str, words)]).returncode:
        raise SystemExit(f"galaxymill {words[0]} failed")


class Galaxies:
    """Who is learned from, who is judged, and where their pictures are.

    Parameters
    ----------
    chosen : Namespace
    folder : Path
        Where labels and images in our form, and the peer's tables, are written.
    """

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        held_out = 0 if chosen.test_votes else chosen.held_out
        val = chosen.val * (1 - held_out)
        shares = {"train": 1 - held_out - val, "val": val, "test": held_out}
        self.tree: Tree = load_tree(TREE)
        self.folder, self.votes = folder, folder / "votes.parquet"
        table = self._collect("images", chosen.data / "votes.csv", chosen.data)
        splits = [word for key, share in shares.items() for word in ("--split", f"{key}={share}")]
        galaxymill("labels", self.votes, chosen.data / "votes.csv", "--tree", TREE, *splits)
        split = pq.read_table(self.votes, columns=["object_id", "split"]).to_pandas()
        table = table.merge(split, on="object_id").sort_values("object_id")
        self.test = table[table["split"] == "test"]
        self.learned = table[table["split"] != "test"]
        if chosen.test_votes:
            self.test = self._collect("test_images", chosen.test_votes, chosen.test_images)
            self.test["split"] = "test"
        for name, part in (*self.learned.groupby("split"), ("test", self.test)):
            part.to_csv(folder / f"{name}.csv", index=False)

    def _collect(self, name: str, votes: Path, images: Path) -> pd.DataFrame:
        """Gather pictures in our form, and read the votes on them as they stand."""
        out = self.folder / f"{name}.parquet"
        galaxymill("label-images", out, images, votes, "--name", "pictures")
        table = pd.read_csv(votes, dtype={"object_id": str})
        table["file_loc"] = [str(images.resolve() / file) for file in table["file_loc"]]
        return table

    def pictures(self, object_ids: Iterable[str]) -> list[bytes]:
        """Rendered images."""
        found: dict[str, bytes] = {}
        for path in sorted(self.folder.glob("*images.parquet")):
            table = pq.read_table(path, columns=["object_id", "image"]).to_pydict()
            found |= dict(zip(table["object_id"], table["image"], strict=True))
        return [found[key]["bytes"] for key in object_ids]  # type: ignore[index]

    def counts(self, table: pd.DataFrame) -> Counts:
        """Votes, in the order of the tree."""
        return table[list(self.tree.columns)].to_numpy(np.int64)


def our_settings(chosen: argparse.Namespace, seed: int) -> TrainSettings:
    """Settings of our training: the example's, unless others are given."""
    example = yaml.safe_load(EXAMPLE.read_text())["models"]["mine"]["train"]
    given = dict(word.split("=", 1) for word in chosen.set)
    return TrainSettings.model_validate(example | {"seed": seed} | given)


def run_ours(galaxies: Galaxies, chosen: argparse.Namespace, seed: int, out: Path) -> None:
    """Train as the example says, and predict; more minutes than allowed are a failure."""
    from galaxymill.inference.predictor import Predictor
    from galaxymill.inference.settings import PredictSettings

    settings = our_settings(chosen, seed)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        start = time.monotonic()
        train(galaxies, settings, Path(folder, "model"))
        minutes = (time.monotonic() - start) / 60
        figure(f"accuracy_minutes_{seed}", minutes, "minutes", at_most=chosen.minutes)
        predictor = Predictor.load(Path(folder, "model"), PredictSettings(samples=SAMPLES))
        ids = list(galaxies.test["object_id"])
        samples, _ = predictor.predict(ids, galaxies.pictures(ids))
    n, s, width = samples.shape
    table = pd.DataFrame(samples.reshape(n * s, width), columns=list(galaxies.tree.columns))
    table.insert(0, "object_id", np.repeat(ids, s))
    table.insert(1, "sample", np.tile(np.arange(s), n))
    table.to_csv(out, index=False)


def train(galaxies: Galaxies, settings: TrainSettings, folder: Path) -> None:
    """Run our training."""
    labelled = "--votes", galaxies.votes, "--images", galaxies.folder / "images.parquet"
    galaxymill("train", folder / "model.yaml", *labelled, *shlex.split(settings.to_flags()))


def run_zoobot(galaxies: Galaxies, chosen: argparse.Namespace, seed: int, out: Path) -> None:
    """Let Zoobot learn and predict."""
    tables = {name: galaxies.folder / f"{name}.csv" for name in ("train", "val", "test")}
    arguments = {"out": out, "minutes": chosen.minutes, "seed": seed, "samples": SAMPLES}
    printed = peer.run_zoobot("zoobot_finetune.py", tree=TREE, **tables, **arguments)
    print(f"zoobot, seed {seed}: {printed.splitlines()[-1]}")


RUN = {"galaxymill": run_ours, "zoobot": run_zoobot}


def predictions(
    side: str, galaxies: Galaxies, chosen: argparse.Namespace, seed: int
) -> dict[str, Values]:
    """Concentrations (n, n_samples, n_answers) by predictor; Zoobot's come in two ways."""
    settings = our_settings(chosen, seed).to_flags() if side == "galaxymill" else ""
    members = [part[["object_id", "split"]].to_csv() for part in (galaxies.learned, galaxies.test)]
    request = sha256_json([chosen.minutes, settings, *members])
    out = chosen.out / f"{side}-{chosen.minutes:g}-minutes-{seed}-{request[:8]}.csv"
    if not out.exists():
        RUN[side](galaxies, chosen, seed, out)
    table = pd.read_csv(out, dtype={"object_id": str}).set_index("object_id")
    columns = list(galaxies.tree.columns)

    def stacked(rows: pd.DataFrame) -> Values:
        samples = [rows.loc[[key], columns].to_numpy() for key in galaxies.test["object_id"]]
        return np.stack(samples)

    if side == "galaxymill":
        return {side: stacked(table)}
    plain = table["sample"] == 0
    return {side: stacked(table[plain]), f"{side}-dropout": stacked(table[~plain])}


def features(galaxies: Galaxies, settings: TrainSettings) -> dict[str, tuple[Values, Values]]:
    """By linear baseline: features of the galaxies to learn from, and of those to judge on."""
    import torch

    from galaxymill.decoding.decode import read_raster
    from galaxymill.evaluation.features import image_features
    from galaxymill.evaluation.measure import InitialEncoder
    from galaxymill.tasks import VoteTask

    task = VoteTask(galaxies.tree)
    encoder = InitialEncoder(settings, task, torch.device("cpu"))
    parts = [galaxies.pictures(part["object_id"]) for part in (galaxies.learned, galaxies.test)]
    hand = [np.stack([image_features(read_raster(image)) for image in part]) for part in parts]
    frozen = [encoder.features(part).astype(np.float64) for part in parts]
    return {"ridge": (hand[0], hand[1]), "ridge-encoder": (frozen[0], frozen[1])}


def table_of(title: str, truth: Truth, rows: dict[str, Sequence[float]], last: str) -> None:
    """Print a table: a line a question and ``last``, a column a predictor."""
    names = [*(q.name.removesuffix("-gz2") for q in truth.tree.questions), last]
    counts = [str(int(truth.rows(q).sum())) for q in truth.tree.questions] + [""]
    print(f"\n{title}\n{'':24}{'n':>5}" + "".join(f"{name:>16}" for name in rows))
    for index, (name, n) in enumerate(zip(names, counts, strict=True)):
        line = "".join(f"{values[index]:16.3f}" for values in rows.values())
        print(f"{name:24}{n:>5}{line}")


def report(
    galaxies: Galaxies, runs: dict[str, list[Values]], linear: dict[str, tuple[Values, Values]]
) -> None:
    """Print everything; the figures at the end are what is to be reached."""
    truth = partial(
        Truth, galaxies.tree, galaxies.counts(galaxies.test), galaxies.counts(galaxies.learned)
    )
    for fewest in (1, 5):
        errors = fraction_errors(truth(fewest), linear, runs)
        means = {name: np.mean([scores.rmse(e) for e in each], 0) for name, each in errors.items()}
        means["noise"] = scores.rmse(truth(fewest).noise())
        rows = {name: [*values, np.nanmean(values)] for name, values in means.items()}
        title = f"RMSE of vote fractions, at least {fewest} votes on the question"
        table_of(title, truth(fewest), rows, "mean of questions")
    judged = truth(5)
    flat = scores.likelihoods(judged, scores.constant_dirichlet(judged))
    nll = {name: np.mean([scores.likelihoods(judged, a) for a in r], 0) for name, r in runs.items()}
    rows = {name: [*v, np.nanmean(v)] for name, v in ({"constant": flat} | nll).items()}
    table_of("Negative log likelihood, nats", judged, rows, "mean of questions")
    held = {name: np.mean([scores.coverages(judged, a) for a in r], 0) for name, r in runs.items()}
    table_of("Coverage of the 90 % predictive intervals", judged, held, "pooled")
    print()
    for name in runs:
        figure(
            f"accuracy_rmse_{name}", np.mean([np.nanmean(scores.rmse(e)) for e in errors[name]]), ""
        )
    if "galaxymill" in runs:
        figures(judged, errors, nll["galaxymill"] - flat, held["galaxymill"])


def fraction_errors(
    truth: Truth, linear: dict[str, tuple[Values, Values]], runs: dict[str, list[Values]]
) -> dict[str, list[Values]]:
    """Squared errors (n, n_questions) of each run of each predictor; baselines have one."""
    fixed = {"constant": scores.constant(truth)}
    fixed |= {name: scores.ridge(truth, *pair) for name, pair in linear.items()}
    errors = {name: [truth.errors(fractions)] for name, fractions in fixed.items()}
    for name, samples in runs.items():
        errors[name] = [truth.errors(scores.expected(each, truth.tree)) for each in samples]
    return errors


def figures(truth: Truth, errors: dict[str, list[Values]], nll: Values, held: Values) -> None:
    """Print what our predictions have to reach."""
    many = [truth.rows(q).sum() >= FEWEST_GALAXIES for q in truth.tree.questions]
    for name in ("zoobot", "zoobot-dropout"):
        if name in errors:
            point, (low, high) = scores.difference(errors["galaxymill"], errors[name])
            print(f"galaxymill - {name}: {point:.4f}, 95 % interval {low:.4f} to {high:.4f}")
            figure(f"accuracy_difference_{name}_highest", high, "", at_most=0)
    figure("accuracy_coverage_pooled_off", abs(held[-1] - 0.9), "", at_most=0.05)
    if any(many):
        figure("accuracy_coverage_off_most", max(abs(held[:-1][many] - 0.9)), "", at_most=0.05)
        figure("accuracy_nll_minus_constant_most", max(nll[many]), "nats", at_most=0)


def main() -> None:
    """Train, predict and judge."""
    chosen = options()
    if bool(chosen.test_votes) != bool(chosen.test_images):
        raise SystemExit("--test-votes and --test-images go together")
    if not (chosen.data / "votes.csv").is_file():
        raise SystemExit(f"{chosen.data / 'votes.csv'}: no such file; name its folder by --data")
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.out) as folder:
        galaxies = Galaxies(chosen, Path(folder))
        runs: dict[str, list[Values]] = {}
        for seed in chosen.seeds:
            for side in chosen.sides:
                for name, samples in predictions(side, galaxies, chosen, seed).items():
                    runs.setdefault(name, []).append(samples)
        report(galaxies, runs, features(galaxies, our_settings(chosen, 1)))


if __name__ == "__main__":
    main()
