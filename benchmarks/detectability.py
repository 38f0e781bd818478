"""What is still seen farther away, on the simulated sky: beside the far votes of its volunteers.

Surfaces are learned from some galaxies, voted on near and 1.5, 2 and 3 times as far away, and
compared with the far votes on others of another sky, in bins of size / FWHM (steps of a quarter)
and of contrast (half a magnitude) that hold 30 galaxies or more. Volunteers vote on what can be
seen far away: sizes beside the seeing and brightness beside the depth are those of the far images.

    make bench-detectability ARGS="--seeds 5"
"""

import argparse
import time

import numpy as np
from figures import SHORT, figure

from galaxymill.detectability.check import Bins, compare, cross_check
from galaxymill.detectability.covariates import View, covariates
from galaxymill.detectability.surface import ROUNDS, Bases, Seen, Surface
from galaxymill.paths import TREES
from galaxymill.simulation.sky import simulate_sky
from galaxymill.simulation.volunteers import NEAR, vote
from galaxymill.simulation.volunteers import View as Shown
from galaxymill.trees.tree import load_tree

TREE = load_tree(TREES / "decals_dr5.yaml")
FARTHER = (1.5, 2.0, 3.0)
LEARNED, JUDGED = (300, 600) if SHORT else (1500, 4000)
FEATURED = "smooth-or-featured-dr5_featured-or-disk"
ANSWERS = (
    FEATURED,
    "smooth-or-featured-dr5_smooth",
    "has-spiral-arms-dr5_yes",
    "bar-dr5_strong",
    "spiral-arm-count-dr5_2",
    "merging-dr5_merger",
)


class Sky:
    """Galaxies, and volunteers' votes on them near and far."""

    def __init__(self, galaxies: int, seed: int) -> None:
        truth = simulate_sky(galaxies, seed)
        size, magnitude = truth["petro_r50"].to_numpy(), truth["mag_r"].to_numpy()
        views = [View(seeing=NEAR.seeing, depth=NEAR.depth, farther=one) for one in FARTHER]
        own = [covariates([size, magnitude], None, view) for view in views]
        self.covariates = np.concatenate(own)
        self.near = self._votes(vote(truth, TREE, seed))
        shown = (Shown(farther=one) for one in FARTHER)
        far = [vote(truth, TREE, 100 * seed + n, view=view) for n, view in enumerate(shown, 1)]
        self.far = np.concatenate([self._votes(one) for one in far])
        self.galaxy = np.tile(np.arange(galaxies), len(FARTHER))

    @staticmethod
    def _votes(table) -> np.ndarray:
        return np.column_stack([table[name].to_numpy() for name in TREE.columns]).astype(float)

    def seen(self, answer: str) -> tuple[np.ndarray, Seen]:
        """Copies about which volunteers were asked the question near and far, and their votes."""
        place = TREE.columns.index(answer)
        question = next(one for one in TREE.questions if answer in one.columns)
        near, far = self.near[self.galaxy], self.far
        asked, total = near[:, question.slice].sum(axis=1), far[:, question.slice].sum(axis=1)
        known = (asked >= 2) & (total >= 1)
        yes, asked = near[known, place], asked[known]
        square = yes * (yes - 1) / (asked * (asked - 1))
        fraction = far[known, place] / total[known]
        return known, Seen(yes / asked, fraction, square, asked, self.galaxy[known])


def bins_of(own: np.ndarray) -> np.ndarray:
    """Bins of equal steps, the same for every sky."""
    steps = np.floor(own / [np.log(1.25), 0.5]).astype(int)
    return np.unique(steps, axis=0, return_inverse=True)[1].ravel()


def judge(learned: Sky, judged: Sky, answer: str) -> Bins:
    """Learn from one sky, and compare with the other."""
    known, seen = learned.seen(answer)
    bases = Bases(learned.covariates[known])
    own = learned.covariates[known]
    misfit = cross_check(bases, own, seen, seen.galaxy % 2 == 0).misfit
    surface = Surface(bases, own, seen, 10 if SHORT else ROUNDS)
    known, seen = judged.seen(answer)
    own = judged.covariates[known]
    return compare(surface.at(own), seen, bins_of(own), misfit)


def main() -> None:
    """Judge the surfaces of some skies, and time a surface."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1 if SHORT else 3)
    seeds = range(1, parser.parse_args().seeds + 1)
    found: dict[str, list[Bins]] = {answer: [] for answer in ANSWERS}
    for seed in seeds:
        learned, judged = Sky(LEARNED, seed), Sky(JUDGED, 1000 + seed)
        for answer in ANSWERS:
            found[answer].append(judge(learned, judged, answer))
        start = time.process_time()
        judge(learned, learned, FEATURED)
        seconds = time.process_time() - start
    for answer, skies in found.items():
        goal = answer == FEATURED
        worst, held = max(one.worst for one in skies), np.mean([one.held for one in skies])
        bins = np.mean([len(one.found) for one in skies])
        print(f"# {answer}: {bins:.0f} bins a sky; worst by sky:", end=" ")
        print(", ".join(f"{one.worst:.3f} ({one.held:.0%} held)" for one in skies), flush=True)
        figure(f"{answer}_worst_bin", worst, "of_a_fraction", at_most=0.05 if goal else None)
        figure(f"{answer}_held_by_90pc", held, "of_bins", at_least=0.85 if goal else None)
        if goal:
            figure(f"{answer}_not_too_wide", held, "of_bins", at_most=0.95)
    figure("surface", seconds, f"CPU_s_of_{LEARNED}_galaxies")


if __name__ == "__main__":
    main()
