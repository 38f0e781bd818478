"""Images a second that a network learns from on this machine, beside Zoobot 2.9's own training.

Both train the same encoder at the same image size and batch size on the same JPEGs of 424 pixels,
turn by turn; the best of three rounds counts. Both are timed when they have warmed up: Zoobot's
steps within a long epoch, our epochs after the first, with all that happens between them.
"""

import csv
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import peer
import pyarrow as pa
from figures import SHORT, figure
from PIL import Image
from pyarrow import csv as arrow_csv

from galaxymill.images.recipes import RECIPES
from galaxymill.simulation.galaxies import render
from galaxymill.simulation.sky import simulate_sky
from galaxymill.simulation.volunteers import vote
from galaxymill.trees.tree import load_tree

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data" / "gz2_sdss_jpeg"
TREES = ROOT / "config" / "trees"
ENCODER = "efficientnet_lite0"
SIZE, BATCH, EPOCHS, SIMULATED = (64, 8, 2, 16) if SHORT else (224, 64, 3, 512)
ROUNDS = 1 if SHORT else 3
GOAL = 3


def simulate(folder: Path) -> None:
    """Write pictures of a made sky, and ``votes.csv``."""
    truth = simulate_sky(SIMULATED)
    recipe = RECIPES["decals"]
    settings = recipe.settings()
    assert recipe.colour is not None
    files = []
    for galaxy in truth.select(["object_id", "ra", "dec", "petro_r90"]).to_pylist():
        scale = max(0.02 * galaxy["petro_r90"], 0.1)
        planes = render(truth, galaxy["ra"], galaxy["dec"], scale, 424)
        colour = recipe.colour(dict(zip("grz", planes[:, ::-1], strict=True)), settings)
        files.append(f"{galaxy['object_id']}.jpg")
        Image.fromarray(colour).save(folder / files[-1], quality=90)
    votes = vote(truth, load_tree(TREES / "decals_dr5.yaml"))
    arrow_csv.write_csv(votes.append_column("file_loc", pa.array(files)), folder / "votes.csv")


def galaxymill(*words: object) -> None:
    """Run a command of ours."""
    command = [Path(sys.executable).with_name("galaxymill"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def collect(folder: Path, source: Path, tree: Path) -> None:
    """Put labels and images in our form."""
    everything = [word for share in ("train=1", "val=0", "test=0") for word in ("--split", share)]
    votes = source / "votes.csv"
    galaxymill("labels", folder / "votes.parquet", votes, "--tree", tree, *everything)
    galaxymill("label-images", folder / "images.parquet", source, votes, "--name", "bench")


def our_rate(folder: Path) -> float:
    """Train, and read the speed of all epochs but the first from the history."""
    settings = {
        "encoder": ENCODER,
        "image_size": SIZE,
        "batch_size": BATCH,
        "epochs": EPOCHS,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as out:
        labelled = "--votes", folder / "votes.parquet", "--images", folder / "images.parquet"
        galaxymill("train", Path(out, "model.yaml"), *labelled, *words)
        history = list(csv.DictReader(io.StringIO(Path(out, "history.csv").read_text())))[1:]
    seconds = [float(row["seconds"]) for row in history]
    images = [float(row["images_per_second"]) * s for row, s in zip(history, seconds, strict=True)]
    return sum(images) / sum(seconds)


def zoobot_rate(source: Path, tree: Path, precision: str) -> float:
    """Let Zoobot train."""
    printed = peer.run_zoobot(
        "zoobot_train.py",
        train=source / "votes.csv",
        images=source,
        tree=tree,
        encoder=ENCODER,
        size=SIZE,
        batch=BATCH,
        precision=precision,
    )
    return json.loads(printed.splitlines()[-1])["images_per_second"]


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, source, tree = Path(temporary), REAL, TREES / "gz2.yaml"
        if SHORT or not REAL.is_dir():
            source, tree = folder, TREES / "decals_dr5.yaml"
            simulate(folder)
        collect(folder, source, tree)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(our_rate(folder))
            if not SHORT or peer.is_installed():
                theirs.append(zoobot_rate(source, tree, "32-true"))
        figure("train", max(ours), "images/s")
        if theirs:
            figure("train_zoobot", max(theirs), "images/s")
            figure("train_gain", max(ours) / max(theirs), "times", at_least=GOAL)
            # Not its default, and slower where the processor has no quick kernels for it.
            figure("train_zoobot_bf16", zoobot_rate(source, tree, "bf16-mixed"), "images/s")


if __name__ == "__main__":
    main()
