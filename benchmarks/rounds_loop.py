"""One rule from one start, round by round, each step by its stage; and where it then stands."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from figures import SHORT
from rounds_sky import FEATURED, TREE, Floats, Sky

from galaxymill.inference.settings import PredictSettings
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.labels.counts import CountSettings
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.probes import network
from galaxymill.probes.fit import fit
from galaxymill.probes.network import predict_all
from galaxymill.probes.predict import apply
from galaxymill.probes.store import load_probes
from galaxymill.rounds.choose import CHOICE, ChooseRequest, choose_subjects
from galaxymill.rounds.judge import VERDICT, JudgeRequest, judge_round
from galaxymill.rounds.population import estimate_mean
from galaxymill.rounds.settings import ChooseSettings, JudgeSettings
from galaxymill.splits import SplitSettings, assign_splits, uniform
from galaxymill.tasks.votes.posterior import mean_fractions

START, BUDGET = (100, 100) if SHORT else (300, 600)
"""Galaxies that are known at first, and of each round."""
ROUNDS = 2 if SHORT else 3
PROBE = ProbeSettings(features="hand", folds=3, hidden=8 if SHORT else 32)
network.PENALTIES = network.PENALTIES[3:4]
"""Here all choose this one, or the one before it; to compare ten takes most of the time."""
BOTH = ("not_confidently_smooth", "mutual_information")
RULES_OF = {
    "random": (),
    BOTH[0]: BOTH[:1],
    BOTH[1]: BOTH[1:],
    "both": BOTH,
    "spread": BOTH,
    "oracle": None,
}
"""What is compared: rules that share the budget; none is random, None knows the truth. Spread is
both, of which a batch is spread over the space of features."""
SPLITS = SplitSettings()
ENOUGH, RARE = 1 / 8, 0.1
"""A galaxy counts for a question to which so many of its volunteers come, five of 40; a question is
rare when fewer of all come."""


@dataclass(frozen=True)
class Point:
    """Where a run stands after a round.

    Attributes
    ----------
    asked, learned, clicks : int
        Galaxies that have votes; those of them that are learned from, not kept for testing; answers
        in all.
    looks, answers, featured : int
        Volunteers who looked at what the rounds asked about, their answers, and how many of these
        are to questions that only featured galaxies raise.
    rmse, rare : float
        Of the challenger: mean over all questions, and over the rare ones.
    smooth : float
        Share of the galaxies that might be asked about of which the champion is sure that they
        are smooth, when the round is asked; NaN before.
    verdict : dict
        Of the gate.
    shares : tuple of float
        Share of featured galaxies: truth, by weights with its standard deviation, without them.
    """

    asked: int
    learned: int
    clicks: int
    looks: int
    answers: int
    featured: int
    rmse: float
    rare: float
    smooth: float
    verdict: dict[str, Any]
    shares: tuple[float, ...]


class Run:
    """One rule from one start; its files lie in a folder."""

    def __init__(self, sky: Sky, rule: str, seed: int, start: Path) -> None:
        self.sky, self.rule, self.seed, self.start = sky, rule, seed, start
        self.folder = sky.path(f"{rule}-{seed}", "x").parent
        self.exports = [start / "start.csv"]
        self.subjects: list[Path] = []
        self.champion, self.predictions = start / "model" / "model.yaml", start / "predictions"
        self.verdict: dict[str, Any] = {}
        self.asked: set[str] = set()
        self.known = set(known_first(sky, seed))
        self.smooth = float("nan")

    @property
    def choosing(self) -> ChooseSettings:
        """How it chooses."""
        rules = RULES_OF[self.rule] or ()
        share = 0.2 if rules else 1.0
        return ChooseSettings(
            budget=BUDGET, choose=rules, random=share, featured=FEATURED, seed=self.seed
        )

    def go(self) -> list[Point]:
        """Run all rounds."""
        points = [self.point(self.start, ())]
        for number in range(1, ROUNDS + 1):
            folder = self.folder / str(number)
            names = self.oracle() if self.rule == "oracle" else self.choose(number, folder)
            shares = self.weigh() if self.subjects else ()
            self.asked |= set(names)
            self.known |= set(names)
            self.exports.append(self.sky.export(names, folder / "export.csv"))
            challenger = learn(self.sky, self.exports, folder)
            if self.subjects:
                self.judge(number, folder, challenger)
            points.append(self.point(folder, shares))
        return points

    def choose(self, number: int, folder: Path) -> list[str]:
        """Choose by the stage; give the galaxies."""
        request = ChooseRequest(
            number,
            self.sky.partitions,
            self.predictions,
            self.champion,
            self.votes,
            tuple(self.subjects),
            self.choosing,
            SPLITS,
            self.sky.lists if self.rule == "spread" else None,
        )
        out = folder / "subjects.parquet"
        choose_subjects(request, out)
        self.subjects.append(out)
        choice = json.loads((folder / CHOICE).read_text())
        # It is counted where a rule asks for it.
        if choice["confidently_smooth"] is not None:
            self.smooth = choice["confidently_smooth"] / choice["pool"]
        names: list[str] = pq.read_table(out)["object_id"].to_pylist()
        return names

    @property
    def votes(self) -> Path:
        """Labels so far."""
        place = self.exports[-1].parent
        return place / "votes.parquet"

    def oracle(self) -> list[str]:
        """A fifth at random, the others among those that are truly featured and not for testing."""
        sky = self.sky
        true = sky.truth_fractions()
        tests = np.array(assign_splits(sky.ids, sky.positions, SPLITS)) == "test"
        draws = sorted((uniform(f"oracle:{self.seed}:{one}"), one) for one in sky.ids)
        left = [one for _, one in draws if one not in self.known]
        good = dict(zip(sky.ids, (true >= 0.5) & ~tests, strict=True))
        names = left[: BUDGET // 5]
        return names + [one for one in left[len(names) :] if good[one]][: BUDGET - len(names)]

    def judge(self, number: int, folder: Path, challenger: Path) -> None:
        """Let the gate decide; a new champion predicts all galaxies."""
        out = folder / "champion" / "model.yaml"
        request = JudgeRequest(
            number=number,
            subjects=tuple(self.subjects),
            votes=self.votes,
            images=(self.sky.path("images.csv"),),
            champion=self.champion,
            challenger=challenger,
            settings=JudgeSettings(),
            predict=PredictSettings(),
            features=self.sky.lists[1],
        )
        judge_round(request, out)
        self.verdict = json.loads((out.parent / VERDICT).read_text())
        if self.verdict["promoted"] and number < ROUNDS:
            self.champion, self.predictions = out, folder / "predictions"
            predict(self.sky, out, self.predictions)

    def weigh(self) -> tuple[float, ...]:
        """Share of featured galaxies among those who might be asked: truth, estimates, errors."""
        rows = pq.read_table(self.subjects[-1])
        counts = self.sky.counts()
        first = self.sky.tree.questions[0].slice
        shares = counts[:, self.sky.tree.columns.index(FEATURED)] / counts[:, first].sum(axis=1)
        featured = dict(zip(self.sky.ids, shares >= 0.5, strict=True))
        pool = [featured[one] for one in self.sky.ids if one not in self.known]
        found = np.array([featured[one] for one in rows["object_id"].to_pylist()], float)
        weighted, error = estimate_mean(found, rows["selection_probability"].to_numpy())
        plain = found.mean()
        naive = np.sqrt(plain * (1 - plain) / len(found))
        return np.mean(pool), weighted, error, plain, naive

    def point(self, folder: Path, shares: tuple[float, ...]) -> Point:
        """Measure where the run stands."""
        sky = self.sky
        votes = pq.read_table(folder / "votes.parquet")
        counts = sky.counts()
        asked = counts[np.isin(sky.ids, list(self.asked))]
        spent = counts[np.isin(sky.ids, list(self.known))]
        raised = np.concatenate([np.arange(q.start, q.slice.stop) for q in of_features(sky)])
        model = folder / "model" / "model.yaml"
        rmse, rare = errors(sky, predict_judged(sky, model))
        return Point(
            len(self.known),
            sum(one != "test" for one in votes["split"].to_pylist()),
            int(spent.sum()),
            int(asked[:, sky.tree.questions[0].slice].sum()),
            int(asked.sum()),
            int(asked[:, raised].sum()),
            rmse,
            rare,
            self.smooth,
            self.verdict,
            shares,
        )


def known_first(sky: Sky, seed: int) -> list[str]:
    """Galaxies that have votes before any round."""
    return sorted(sky.ids, key=lambda one: uniform(f"start:{seed}:{one}"))[:START]


def of_features(sky: Sky) -> list[Any]:
    """Questions that are asked because somebody saw features."""
    found: list[Any] = []
    answers = {sky.tree.columns.index(FEATURED)}
    for question in sky.tree.questions:
        parents = set(sky.tree.parents(question))
        if parents and parents <= answers:
            found.append(question)
            answers |= set(range(question.start, question.slice.stop))
    return found


def begin(sky: Sky, seed: int) -> Path:
    """Learn from the first galaxies, and predict all; gives the folder."""
    folder = sky.path(f"start-{seed}", "start.csv").parent
    learn(sky, [sky.export(known_first(sky, seed), folder / "start.csv")], folder)
    predict(sky, folder / "model" / "model.yaml", folder / "predictions")
    return folder


def learn(sky: Sky, exports: Sequence[Path], folder: Path) -> Path:
    """Collect what came back, and fit a challenger."""
    votes, model = folder / "votes.parquet", folder / "model" / "model.yaml"
    collect_labels(exports, TREE, votes, LabelSettings("counts", CountSettings(), SPLITS))
    model.parent.mkdir()
    fit([votes], *reversed(sky.lists), model, PROBE)
    return model


def predict(sky: Sky, model: Path, folder: Path) -> None:
    """Predict every galaxy of the pool."""
    folder.mkdir()
    for part in sky.parts:
        features = sky.path("features", f"{part}.parquet")
        apply(features, model, folder / f"{part}.parquet", PredictSettings())


def predict_judged(sky: Sky, model: Path) -> Floats:
    """Fractions of the galaxies that judge, shape (n, n_answers)."""
    samples = predict_all(load_probes(model)[0], sky.features).numpy()
    return mean_fractions(samples.astype(np.float64), sky.tree)


def errors(sky: Sky, predicted: Floats) -> tuple[float, float]:
    """Root mean square error of the fractions: mean over all questions, and over rare ones."""
    true, asked = sky.fractions()
    each, rare = [], []
    for question in sky.tree.questions:
        rows = asked[question.name] >= ENOUGH
        off = (predicted - true)[rows, question.slice]
        each.append(float(np.sqrt((off**2).mean())))
        if asked[question.name].mean() < RARE:
            rare.append(each[-1])
    return float(np.mean(each)), float(np.mean(rare))


def run_one(sky: Sky, start: Mapping[int, Path], job: tuple[str, int]) -> list[Point]:
    """Run one rule from one start."""
    rule, seed = job
    return Run(sky, rule, seed, start[seed]).go()
