"""CPU of the catalogue's summary columns: milliseconds a galaxy for 5 samples of 34 answers."""

from pathlib import Path

import numpy as np
from figures import SHORT, best_seconds, figure

from galaxymill.inference.rows import summarise
from galaxymill.tasks import VoteTask
from galaxymill.tasks.votes.posterior import intervals
from galaxymill.trees.tree import load_tree

GALAXIES = 64 if SHORT else 2000
tree = load_tree(Path(__file__).resolve().parents[1] / "config" / "trees" / "decals_dr5.yaml")
shape = (GALAXIES, 5, len(tree.columns))
alpha = np.random.default_rng(1).uniform(1, 101, shape).astype(np.float32)

for name, run, of in (("intervals", intervals, tree), ("summary", summarise, VoteTask(tree))):
    seconds = best_seconds(lambda run=run, of=of: run(alpha, of), 3)
    figure(f"posterior_{name}", 1000 * seconds / GALAXIES, "cpu_ms/galaxy", at_most=0.5)
