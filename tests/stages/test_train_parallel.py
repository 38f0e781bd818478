"""Several processes train one model; only the first writes it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from galaxymill.models.store import load_networks

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from training_sets import FEW, TASKS, history, write_images, write_votes

N = 40


def test_two_processes_make_one_ensemble(tmp_path):
    """The command line itself: Lightning starts the second process by running it again."""
    votes = write_votes(tmp_path / "votes.parquet", N, TASKS["votes"])
    images = write_images(tmp_path / "images.parquet", N, group=8)
    out = tmp_path / "model" / "model.yaml"
    settings = {**FEW, "epochs": 2, "devices": 2, "members": 2, "cache_gb": 0}
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    program = Path(sys.executable).with_name("galaxymill")
    done = subprocess.run(
        [program, "train", out, "--votes", votes, "--images", images, "--device", "cpu", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "history.csv",
        "model.yaml",
        "weights.safetensors",
    ]
    rows = history(out.parent)
    assert [(row["member"], row["epoch"]) for row in rows] == [
        (str(member), str(epoch)) for member in range(2) for epoch in range(2)
    ]
    assert all(np.isfinite(float(row[key])) for row in rows for key in ("train_nll", "val_nll"))
    networks, card = load_networks(out)
    assert len(networks) == 2
    assert card.counts["train"] == 30
