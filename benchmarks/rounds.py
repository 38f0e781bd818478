"""Rounds as a closed loop: what is saved when volunteers are asked what matters, and what it costs.

A simulated sky, mostly smooth, with simulated volunteers. From the same galaxies drawn at random,
each rule asks for three rounds; what comes back is collected, learned from (heads on features),
judged by the gate, and the champion predicts all galaxies for the next choice: every step by its
stage. Errors are of vote fractions, against those that the volunteers were simulated by, on
galaxies that no round touches. The oracle asks about galaxies that are truly featured: it shows how
far any rule could go. At last one network is trained whole on what random and the best rule asked.

    make demo-rounds
    make bench-rounds ARGS="--jobs 1 --seeds 2"
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from figures import SHORT, figure
from rounds_loop import ROUNDS, RULES_OF, Point, begin, errors, run_one
from rounds_sky import Floats, Sky, make_sky
from scipy.stats import t

from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.settings import TrainSettings
from galaxymill.reporting.plots import plain_axes
from galaxymill.tasks.votes.posterior import mean_fractions
from galaxymill.training.train import train

RESULTS = Path("results")
POOL, JUDGED = (1500, 300) if SHORT else (20_000, 3000)
SEEDS = 1 if SHORT else 3
RULES = ["both", "spread"] if SHORT else list(RULES_OF)
NETWORK = TrainSettings(
    encoder="test_efficientnet_gn",
    image_size=64,
    zoom=(1.3, 1.7),
    views=4,
    epochs=1 if SHORT else 30,
    batch_size=32,
    learning_rate=0.005,
    device="cpu",
)


def needed(curve: Sequence[Point], target: float, what: str, which: str) -> float:
    """How much a curve needs to come down to an error, between its points along straight lines."""
    for one, other in itertools.pairwise(curve):
        above, below = getattr(one, which), getattr(other, which)
        if below <= target:
            share = (above - target) / max(above - below, 1e-12) if above > target else 0.0
            return float(getattr(one, what) + share * (getattr(other, what) - getattr(one, what)))
    return float("inf")


Curves = dict[str, list[list[Point]]]


def tell(curves: Curves) -> dict[str, float]:
    """Print the figures; gives the mean share of labels that each rule needs."""
    shares = {}
    for rule, runs in curves.items():
        for which in ("rmse", "rare"):
            told = " ".join(
                f"{np.mean([r[n].learned for r in runs]):.0f}:"
                f"{np.mean([getattr(r[n], which) for r in runs]):.4f}"
                for n in range(ROUNDS + 1)
            )
            print(f"# {rule} {which} by galaxies learned from: {told}")
        smooth = " ".join(
            f"{np.mean([r[n].smooth for r in runs]):.3f}" for n in range(1, ROUNDS + 1)
        )
        print(f"# {rule} share of the pool that is confidently smooth, by round: {smooth}")
    for rule, runs in curves.items():
        if rule == "random":
            continue
        aim = rule == "both"
        for which, what in (
            ("rmse", "learned"),
            ("rmse", "asked"),
            ("rmse", "clicks"),
            ("rare", "learned"),
        ):
            ratios = np.array(
                [
                    needed(own, base[-1].__dict__[which], what, which) / base[-1].__dict__[what]
                    for own, base in zip(runs, curves["random"], strict=True)
                ]
            )
            name = f"{rule}_{what}_needed" + ("_rare" if which == "rare" else "")
            goal = aim and which == "rmse" and what == "learned"
            figure(name, ratios.mean(), "of_random", at_most=0.65 if goal else None)
            figure(f"{name}_upper", upper(ratios), "95_%_bound", at_most=0.85 if goal else None)
            if (which, what) == ("rmse", "learned"):
                shares[rule] = float(ratios.mean())
        for per in ("answers", "looks"):
            own, base = (
                np.mean([r[-1].featured / getattr(r[-1], per) for r in one])
                for one in (runs, curves["random"])
            )
            goal = 2 if aim and per == "answers" else None
            name = "click" if per == "answers" else "look"
            figure(f"{rule}_feature_answers_a_{name}", own / base, "times_random", at_least=goal)
    return shares


def upper(values: Floats) -> float:
    """Upper 95 % bound of a mean, by Student's t."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return float("inf")
    return float(values.mean() + t.ppf(0.95, n - 1) * values.std(ddof=1) / n**0.5)


def tell_gate(curves: Curves) -> None:
    """Print verdicts, and what weights are good for."""
    for rule, runs in curves.items():
        verdicts = [point.verdict for run in runs for point in run[1:] if point.verdict]
        if not verdicts:
            continue
        for number in range(1, ROUNDS + 1):
            each = [v for v in verdicts if v["round"] == number]
            passed = sum(v["promoted"] for v in each)
            galaxies = np.mean([v["galaxies"] for v in each])
            off = np.mean([v["nll_difference"] for v in each])
            most = np.mean([v["nll_difference_upper"] for v in each])
            print(
                f"# gate, {rule}, round {number}: {passed} of {len(each)} promoted by "
                f"{galaxies:.0f} galaxies; {off:+.4f} nat a question, at most {most:+.4f}"
            )
        for reason in sorted({r.split(":")[-1] for v in verdicts for r in v["gate"]["reasons"]}):
            print(f"#   refused:{reason}")
        shares = np.array([point.shares for run in runs for point in run[1:]])
        true, weighted, error, plain, naive = shares.mean(axis=0)
        print(
            f"# featured, {rule}: truth {true:.3f}, weighted {weighted:.3f} ± {error:.3f}, "
            f"unweighted {plain:.3f} ± {naive:.3f}"
        )
        off = (shares[:, 1] - shares[:, 0]) / shares[:, 2]
        bare = (shares[:, 3] - shares[:, 0]) / shares[:, 4]
        goal = rule == "both"
        within = (np.abs(off) <= 2).mean()
        figure(f"{rule}_weighted_within_2_sigma", within, f"of_{len(off)}_rounds")
        figure(f"{rule}_unweighted_off", bare.min(), "sigma_at_least", at_least=5 if goal else None)


def plot(curves: Curves, out: Path) -> None:
    """Draw error against galaxies and clicks."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9, 6.4), layout="constrained")
    axes = drawn.subplots(2, 2, sharey="row")
    words = {"learned": "galaxies learned from", "clicks": "answers of volunteers"}
    for row, (which, title) in enumerate((("rmse", "all questions"), ("rare", "rare questions"))):
        for column, what in enumerate(words):
            axis = axes[row, column]
            for rule, runs in curves.items():
                x = np.mean([[getattr(p, what) for p in run] for run in runs], axis=0)
                y = np.array([[getattr(p, which) for p in run] for run in runs])
                style = {"ls": "--", "color": "#888888"} if rule == "oracle" else {}
                spread = y.std(axis=0, ddof=1) / len(y) ** 0.5 if len(y) > 1 else None
                axis.errorbar(x, y.mean(axis=0), spread, marker="o", ms=4, label=rule, **style)
            axis.set_xlabel(words[what])
            axis.set_title(title)
            plain_axes(axis)
        axes[row, 0].set_ylabel("RMSE of vote fractions")
    axes[0, 1].legend(frameon=False, fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(out, dpi=110)
    print(f"# plot: {out}")


def fine_tune(sky: Sky, rule: str) -> tuple[float, float]:
    """Errors of one network that learns whole from all that a rule asked, from the first start."""
    folder = sky.folder / f"{rule}-1" / str(ROUNDS)
    model = sky.path(f"network-{rule}", "model.yaml")
    train([folder / "votes.parquet"], [sky.path("images.csv")], model, NETWORK)
    samples, _ = Predictor.load(model, PredictSettings()).predict(
        sky.judged["object_id"].to_pylist(), sky.pictures
    )
    return errors(sky, mean_fractions(samples.astype(np.float64), sky.tree))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--rules", nargs="+", choices=RULES_OF, default=RULES)
    parser.add_argument("--plot", type=Path, default=Path("results/rounds.png"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(1, chosen.seeds + 1)
    jobs = [(rule, seed) for seed in seeds for rule in dict.fromkeys(["random", *chosen.rules])]
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS.resolve()) as name:
        with ProcessPoolExecutor(chosen.jobs) as pool:
            sky = make_sky(Path(name), POOL, JUDGED, pool.map)
            starts = dict(zip(seeds, pool.map(partial(begin, sky), seeds), strict=True))
            done = list(pool.map(partial(run_one, sky, starts), jobs))
        curves: Curves = {}
        for (rule, _), run in zip(jobs, done, strict=True):
            curves.setdefault(rule, []).append(run)
        plot(curves, chosen.plot)
        shares = tell(curves)
        tell_gate(curves)
        shares.pop("oracle", None)
        rules = ["random", *sorted(shares, key=lambda one: shares[one])[:1]]
        with ProcessPoolExecutor(chosen.jobs) as pool:
            for rule, (rmse, rare) in zip(
                rules, pool.map(partial(fine_tune, sky), rules), strict=True
            ):
                figure(f"network_{rule}", rmse, "RMSE")
                figure(f"network_{rule}_rare", rare, "RMSE")


if __name__ == "__main__":
    main()
