"""Volunteers as individuals: errors of fractions beside raw ones, Galaxy Zoo's consistency weights
and shrunk ones, first on crowds that the model does not describe; honesty of standard deviations;
real votes kept back; what feedback says; a network's errors; time and memory.

The usual crowd is read from a Zooniverse export by the real reader. Beside it stands what whoever
knows every volunteer, and what galaxies are like, would reach: no fit does better. Errors are root
mean squares over galaxies, answers and seeds, of which the usual crowd has four times as many.

    make bench-volunteers ARGS="--seeds 3"
"""

import argparse
import csv
import logging
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from figures import SHORT, figure
from processes import apart, measure
from scipy.optimize import minimize
from scipy.special import betaln, expit
from scipy.stats import beta

from galaxymill.labels.pseudonyms import VARIABLE, pseudonym
from galaxymill.simulation.crowd import (
    Answers,
    Crowd,
    CrowdSettings,
    classify,
    recruit,
    write_export,
)
from galaxymill.trees.tree import Tree, load_tree, parse_tree
from galaxymill.volunteers.model import OPINIONS, Votes, fit
from galaxymill.volunteers.question import Answered, Individuals, fit_individuals

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data" / "volunteer_votes" / "answers.csv"
GALAXIES = 200 if SHORT else 1500
NUMBERS = (5, 10) if SHORT else (5, 10, 20, 40)
KEY = "a key for this benchmark alone"
USUAL = CrowdSettings(volunteers=60 if SHORT else 600)
COPIERS = USUAL.volunteers // 20
OTHERS = {
    "skill_by_question": replace(USUAL, by_question=True),
    "learning": replace(USUAL, learning=20),
    "copiers": replace(USUAL, copiers=COPIERS),
    "one_time": replace(USUAL, once=0.3),
    "everything": replace(USUAL, by_question=True, learning=20, copiers=COPIERS, once=0.3),
}
PLAIN = {"name": "toy", "questions": {"featured": {"answers": ["yes", "no"]}}}
TWO = {
    "name": "toy",
    "questions": {
        "featured": {"answers": ["yes", "no"]},
        "arms": {"answers": ["one", "two", "many"], "asked_after": ["featured_yes"]},
    },
}


def truths(tree: Tree, rng: np.random.Generator) -> np.ndarray:
    """True fractions of each question, spread over all there may be."""
    parts = [
        np.clip(rng.dirichlet(np.full(len(q.answers), 0.9), GALAXIES), 0.003, 1)
        for q in tree.questions
    ]
    return np.concatenate([part / part.sum(1, keepdims=True) for part in parts], axis=1)


def raw(galaxy: np.ndarray, yes: np.ndarray, n: int, weight=None) -> np.ndarray:
    """Fractions as counted, or with weights."""
    weight = np.ones(len(galaxy)) if weight is None else weight
    return np.bincount(galaxy, yes * weight, n) / np.maximum(np.bincount(galaxy, weight, n), 1e-9)


def consistent(galaxy: np.ndarray, volunteer: np.ndarray, yes: np.ndarray, n: int) -> np.ndarray:
    """Fractions with Galaxy Zoo's weights of consistency (Willett+13, eq. 1), three rounds."""
    times = np.maximum(np.bincount(volunteer), 1)
    weight = np.ones(len(times))
    for _ in range(3):
        fraction = raw(galaxy, yes, n, weight[volunteer])
        agreed = np.where(yes, fraction[galaxy], 1 - fraction[galaxy])
        kappa = np.bincount(volunteer, agreed) / times
        weight = np.minimum(1, (kappa / 0.6) ** 8.5)
    return raw(galaxy, yes, n, weight[volunteer])


def shrunk(galaxy: np.ndarray, yes: np.ndarray, n: int) -> np.ndarray:
    """Mean of a beta posterior, whose prior is that of all galaxies."""
    k, total = np.bincount(galaxy, yes, n), np.bincount(galaxy, minlength=n)

    def loss(logs: np.ndarray) -> float:
        a, b = np.exp(logs)
        return -float((betaln(a + k, b + total - k) - betaln(a, b)).sum())

    a, b = np.exp(minimize(loss, [0.0, 0.0], method="Nelder-Mead").x)
    return (k + a) / (total + a + b)


class Errors:
    """Squared errors of each way, by question, and how often intervals of 90 % held."""

    def __init__(self) -> None:
        self.squares: dict[str, list[np.ndarray]] = {}
        self.held: list[np.ndarray] = []

    def add(self, found: Individuals, given: Answered, truth: np.ndarray) -> None:
        """Compare on the galaxies that were asked."""
        galaxy, volunteer, answer = (
            part.numpy() for part in (given.galaxy, given.volunteer, given.answer)
        )
        n = len(truth)
        asked = np.bincount(galaxy, minlength=n) > 0
        ways = {"individuals": found.fractions.numpy()}
        for name, way in (
            ("raw", lambda yes: raw(galaxy, yes, n)),
            ("weights", lambda yes: consistent(galaxy, volunteer, yes, n)),
            ("shrunk", lambda yes: shrunk(galaxy, yes, n)),
        ):
            parts = np.stack([way(answer == k) for k in range(given.answers)], axis=1)
            ways[name] = parts / np.maximum(parts.sum(1, keepdims=True), 1e-9)
        for name, fractions in ways.items():
            self.squares.setdefault(name, []).append(((fractions - truth)[asked] ** 2).ravel())
        mean, deviation = found.fractions.numpy(), found.deviations.numpy()
        strength = np.maximum(mean * (1 - mean) / deviation**2 - 1, 1e-3)
        low, high = beta.ppf([[[0.05]], [[0.95]]], mean * strength, (1 - mean) * strength)
        self.held.append(((truth >= low) & (truth <= high))[asked].ravel())

    def rms(self, way: str) -> float:
        """Root mean square error of a way."""
        return float(np.sqrt(np.mean(np.concatenate(self.squares[way]))))

    def coverage(self) -> float:
        """Share of the intervals of 90 % that held."""
        return float(np.mean(np.concatenate(self.held)))


def answered(answers: Answers, place: int, tree: Tree) -> Answered:
    """Answers to one question, volunteers numbered anew."""
    asked = answers.answers[:, place] >= 0
    _, volunteer = np.unique(answers.volunteer[asked], return_inverse=True)
    return Answered(
        torch.from_numpy(answers.galaxy[asked]),
        torch.from_numpy(volunteer),
        torch.from_numpy(answers.answers[asked, place]),
        len(tree.questions[place].answers),
        torch.ones(GALAXIES, dtype=torch.bool),
        int(volunteer.max()) + 1,
    )


def knowing(crowd: Crowd, fractions: np.ndarray, answers: Answers) -> np.ndarray:
    """Fractions by whoever knows every volunteer, and what galaxies are like: none does better."""
    z = np.linspace(-6, 6, 241)
    who, yes = answers.volunteer % crowd.settings.volunteers, answers.answers[:, :1] == 0
    bias, habit = (part[who, :1] - part[who, 1:2] for part in (crowd.bias, crowd.habit))
    odds = np.where(crowd.careless[who, None], habit, crowd.skill[who, :1] * z + bias)
    log = np.tile(0.9 * (np.log(expit(z)) + np.log(expit(-z))), (len(fractions), 1))
    np.add.at(log, answers.galaxy, np.log(expit(np.where(yes, odds, -odds))))
    weight = np.exp(log - log.max(1, keepdims=True))
    return weight @ expit(z) / weight.sum(1)


def measure_others(seeds: int) -> None:
    """Crowds that the model does not describe: never worse than raw fractions."""
    tree = parse_tree(TWO, "toy")
    for name, settings in OTHERS.items():
        ratios, newcomers = {}, []
        for number in NUMBERS:
            errors = Errors()
            for seed in range(seeds):
                rng = np.random.default_rng([seed, number])
                fractions = truths(tree, rng)
                crowd = recruit(settings, tree, rng)
                answers = classify(crowd, fractions, tree, number, rng)
                for place, question in enumerate(tree.questions):
                    given = answered(answers, place, tree)
                    errors.add(fit_individuals(given), given, fractions[:, question.slice])
            ratios[number] = errors.rms("individuals") / errors.rms("raw")
            newcomers.append(errors.coverage())
        worst = max(ratios, key=ratios.__getitem__)
        figure(f"{name}_worst", ratios[worst], f"of_raw_error_({worst}_votes)", at_most=1)
        figure(f"{name}_coverage", min(newcomers), "least_of_all_numbers_of_votes")


def through_reader(folder: Path, answers: Answers) -> tuple[Individuals, Answered, dict[str, int]]:
    """Write an export of the usual crowd, read it, and fit; whose row a pseudonym is, too."""
    import pyarrow.parquet as pq

    from galaxymill.labels.collect import LabelSettings, collect_labels
    from galaxymill.labels.panoptes import PanoptesSettings
    from galaxymill.labels.table import read_votes
    from galaxymill.volunteers.answers import read_answers

    tree = parse_tree(PLAIN, "toy")
    names = [f"G{row:06d}" for row in range(GALAXIES)]
    export, tasks = write_export(folder, names, answers, tree)
    (folder / "tree.yaml").write_text(yaml.safe_dump(PLAIN))
    settings = PanoptesSettings(tasks=tasks, object_id="name")
    out = folder / "votes.parquet"
    collect_labels([export], folder / "tree.yaml", out, LabelSettings("panoptes", settings))
    assert pq.read_metadata(folder / "answers.parquet").num_rows == len(answers.galaxy)
    table = read_votes(out)
    given = read_answers(folder / "answers.parquet", table, tree)
    rows = np.array([int(name[1:]) for name in table.object_ids])
    one = Answered(
        torch.from_numpy(rows[given.galaxy]),
        torch.from_numpy(given.volunteer.astype(np.int64)),
        torch.from_numpy(given.column.astype(np.int64)),
        2,
        torch.ones(GALAXIES, dtype=torch.bool),
        len(given.volunteers),
    )
    return fit_individuals(one), one, {name: row for row, name in enumerate(given.volunteers)}


def measure_usual(seeds: int) -> None:
    """The crowd that the model describes: errors, standard deviations, feedback."""
    tree = parse_tree(PLAIN, "toy")
    errors = {number: Errors() for number in NUMBERS}
    known: dict[int, list[float]] = {number: [] for number in NUMBERS}
    right, told = [], []
    for seed in range(seeds):
        for number in NUMBERS:
            rng = np.random.default_rng([seed, number, 1])
            fractions, crowd = truths(tree, rng), recruit(USUAL, tree, rng)
            answers = classify(crowd, fractions, tree, number, rng)
            with tempfile.TemporaryDirectory() as folder:
                found, given, rows = through_reader(Path(folder), answers)
            known[number].append(
                float(np.mean((knowing(crowd, fractions, answers) - fractions[:, 0]) ** 2))
            )
            errors[number].add(found, given, fractions)
            share = feedback(found, given, rows, crowd)
            right.append(share[0])
            told.append(share[1])
    for number, one in errors.items():
        best = min(one.rms(name) for name in ("raw", "weights", "shrunk"))
        listed = " ".join(f"{name} {one.rms(name):.4f}" for name in one.squares)
        bound = float(np.sqrt(np.mean(known[number])))
        print(f"# {number} votes: {listed} knowing {bound:.4f}")
        figure(f"best_of_others_{number}_known", bound / best, "of_whoever_knows_all")
        figure(f"best_of_others_{number}", one.rms("individuals") / best, "ratio", at_most=0.85)
        if 2 * number in errors and number >= 10:
            twice = errors[2 * number].rms("raw")
            figure(f"twice_the_votes_{number}", one.rms("individuals") / twice, "ratio", at_most=1)
            figure(f"twice_the_votes_{number}_known", bound / twice, "of_whoever_knows_all")
        off = abs(one.coverage() - 0.9)
        figure(f"coverage_{number}", one.coverage(), "of_90%_intervals")
        figure(f"coverage_{number}_off", off, "from_0.9", at_most=0.05)
    figure("feedback_right", 20 * min(right), "of_the_20_surest,_least_of_all", at_least=18)
    figure("feedback_told_right", float(np.mean(told)), "share_of_all_that_are_told")


def feedback(
    found: Individuals, given: Answered, rows: dict[str, int], crowd: Crowd
) -> tuple[float, float]:
    """Share of those told of a bias who have one, of this sign and beyond half of the least."""
    import pandas as pd

    from galaxymill.simulation.crowd import user
    from galaxymill.volunteers.feedback import LEAST, differing

    truth = np.full(len(rows), np.nan)
    for person in range(crowd.settings.volunteers):
        who = user(person)
        trace = f"id {who['user_id']}" if who["user_id"] else f"name {who['user_name']}"
        row = rows.get(pseudonym(trace, KEY.encode()))
        if row is not None:
            # The careless have no bias that depends on a galaxy: of them nothing is to be said.
            bias = crowd.bias[person, 0] - crowd.bias[person, 1]
            truth[row] = 0 if crowd.careless[person] else bias
    assert np.isfinite(truth).all()
    people = pd.DataFrame(
        {
            "bias": found.bias.numpy().ravel(),
            "bias_error": found.bias_error.numpy().ravel(),
            "careless": np.repeat(found.careless.numpy(), 2),
            "truth": np.column_stack([truth, -truth]).ravel(),
        }
    )
    said = differing(people)
    has = (said.truth > LEAST / 2).to_numpy()
    return float(has[:20].mean()) if len(has) else 1.0, float(has.mean()) if len(has) else 1.0


def measure_real() -> None:
    """Real votes: half of them are kept back, and predicted one by one."""
    seen, rows = set(), []
    with REAL.open(newline="") as file:
        for row in csv.DictReader(file):
            pair = row["subject_id"], row["volunteer"]
            if row["answer"] and pair not in seen:
                seen.add(pair)
                rows.append((*pair, row["answer"] == "No."))
    places = [
        {name: n for n, name in enumerate(dict.fromkeys(one))}
        for one in list(zip(*rows, strict=True))[:2]
    ]
    galaxy, volunteer = (np.array([places[side][row[side]] for row in rows]) for side in (0, 1))
    yes = np.array([row[2] for row in rows])
    n, people = len(places[0]), len(places[1])
    losses: dict[str, list[float]] = {"constant": [], "shrunk": [], "individuals": []}
    for seed in range(2 if SHORT else 10):
        kept = np.random.default_rng(seed).random(len(yes)) < 0.5
        tensors = (torch.from_numpy(part[~kept]) for part in (galaxy, volunteer, yes))
        belief = fit(Votes(*tensors, torch.ones(n, dtype=torch.bool), people))
        pairs = (torch.from_numpy(part[kept]) for part in (galaxy, volunteer))
        said = {
            "constant": np.full(kept.sum(), yes[~kept].mean()),
            "shrunk": shrunk(galaxy[~kept], yes[~kept], n)[galaxy[kept]],
            "individuals": belief.probability(*pairs).numpy().astype(float),
        }
        for name, p in said.items():
            p = np.clip(p, 1e-4, 1 - 1e-4)
            losses[name].append(-np.mean(np.where(yes[kept], np.log(p), np.log1p(-p))))
    for name in ("constant", "shrunk"):
        figure(f"real_{name}", float(np.mean(losses[name])), "nat_a_vote_kept_back")
    figure("real_individuals", float(np.mean(losses["individuals"])), "nat", at_most=0.062)


def measure_network(seeds: int) -> None:
    """A head on frozen features of a made sky, from effective votes of 10 and raw ones of 20.

    It learns from the same galaxies either way, and is judged by the true fractions of others.
    """
    from galaxymill.images.recipes import RECIPES
    from galaxymill.models.initial import initial_network
    from galaxymill.models.network import pooled
    from galaxymill.models.probe_settings import ProbeSettings
    from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER, TrainSettings
    from galaxymill.probes.fit import Labelled, fit_members
    from galaxymill.probes.network import feature_scale, predict_all
    from galaxymill.simulation.galaxies import render
    from galaxymill.simulation.sky import simulate_sky
    from galaxymill.simulation.volunteers import true_fractions
    from galaxymill.spaces.settings import SpaceSettings
    from galaxymill.spaces.space import Space, fit_components
    from galaxymill.splits import assign_folds
    from galaxymill.tasks import VoteTask

    decals = load_tree(ROOT / "config" / "trees" / "decals_dr5.yaml")
    question = decals.questions[0]
    tree = parse_tree({"name": "k", "questions": {"k": {"answers": list(question.answers)}}}, "k")
    truth, task = simulate_sky(GALAXIES), VoteTask(tree)
    fractions = np.clip(true_fractions(truth, decals)[:, question.slice], 0.003, 1)
    fractions /= fractions.sum(1, keepdims=True)
    recipe = RECIPES["decals"]
    settings = TrainSettings(encoder=PACKAGE_ENCODER, weights=PACKAGE, image_size=128)
    network, features = initial_network(settings, task).eval(), []
    for galaxy in truth.select(["ra", "dec", "petro_r90"]).to_pylist():
        scale = max(0.02 * galaxy["petro_r90"], 0.1) * 424 / 128 / 1.3
        planes = render(truth, galaxy["ra"], galaxy["dec"], scale, 128)
        pixels = recipe.colour(dict(zip("grz", planes[:, ::-1], strict=True)), recipe.settings())
        image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            features.append(pooled(network.features(image)).numpy()[0])
    components = 32 if SHORT else 128
    mean, rows, deviations, _ = fit_components(np.stack(features).astype(np.float64), components)
    space = Space({}, SpaceSettings(components=components), mean, rows, deviations, {}, {})
    values, _ = space.features(np.stack(features).astype(np.float16))
    learned = GALAXIES * 2 // 3
    home = assign_folds([str(n) for n in range(learned)], None, 5).astype(np.int64)

    def error(labels: np.ndarray) -> float:
        given = map(torch.from_numpy, (values[:learned].astype(float), labels[:learned], home))
        chosen = ProbeSettings(features="k")
        probes, _ = fit_members(Labelled(*given), task, chosen, feature_scale(deviations))
        alpha = predict_all(probes, values[learned:]).numpy()
        said = (alpha / alpha.sum(-1, keepdims=True)).mean(1)
        return float(np.mean((said - fractions[learned:]) ** 2))

    squares: dict[str, list[float]] = {"raw_10": [], "raw_20": [], "individuals_10": []}
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 2])
        crowd = recruit(USUAL, tree, rng)
        for votes in (10, 20):
            given = answered(classify(crowd, fractions, tree, votes, rng), 0, tree)
            cells = given.galaxy * len(question.answers) + given.answer
            counts = torch.bincount(cells, minlength=fractions.size).reshape(fractions.shape)
            squares[f"raw_{votes}"].append(error(counts.numpy().astype(float)))
            if votes == 10:
                effective = fit_individuals(given).votes.numpy().astype(float)
                squares["individuals_10"].append(error(effective))
    found = {name: float(np.sqrt(np.mean(each))) for name, each in squares.items()}
    print("# network: " + " ".join(f"{name} {value:.4f}" for name, value in found.items()))
    figure("network", found["individuals_10"] / found["raw_20"], "of_raw_20_error", at_most=1)


def write_rows(path: Path, rows: int) -> None:
    """Write an export of so many rows: 40 volunteers a galaxy, one in fifty of whom comes once."""
    tree = parse_tree(PLAIN, "toy")
    rng = np.random.default_rng(1)
    galaxies = rows // 40
    galaxy = np.repeat(np.arange(galaxies), 40)
    volunteer = np.minimum(rng.pareto(1.0, len(galaxy)) * 50, 20_000).astype(int)
    strangers = rng.random(len(galaxy)) < 0.02
    volunteer[strangers] = 100_000 + np.arange(int(strangers.sum()))
    answer = (rng.random(len(galaxy)) < rng.beta(0.9, 0.9, galaxies)[galaxy]).astype(int)
    answers = Answers(galaxy, volunteer, answer[:, None])
    write_export(path, [f"G{row:07d}" for row in range(galaxies)], answers, tree)
    (path / "tree.yaml").write_text(yaml.safe_dump(PLAIN))


def measure_size(rows: int) -> None:
    """Time and memory of reading an export and of the fit, as whole processes."""
    program = Path(sys.executable).with_name("galaxymill")
    few, environment = rows // 2, {**os.environ, VARIABLE: KEY}
    peaks = []
    for count in (few, rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_rows(folder, count)
            out = folder / "votes.parquet"
            tree, tasks = folder / "tree.yaml", f"tasks={folder / 'tasks.yaml'}"
            words = ["--format", "panoptes", "--tree", tree, "--set", "object_id=name"]
            words += ["--set", tasks]
            read = measure([program, "labels", out, folder / "export.csv", *words], environment)
            peaks.append(read.peak_mb)
            if count == rows:
                figure("read", read.cpu_s, f"CPU_s_for_{rows}_rows")
                words = ["--answers", folder / "answers.parquet", "--votes", out]
                words = ["volunteers", "fit", folder / "individual.parquet", *words]
                fitted = measure([program, *words], environment)
                figure("fit", fitted.cpu_s, f"CPU_s_for_{rows}_answers", at_most=300)
                figure("fit_peak", fitted.peak_mb, "MB", at_most=2000)
    each = (peaks[1] - peaks[0]) / (rows - few)
    figure("read_peak", peaks[1], f"MB_for_{rows}_rows", at_most=2000)
    figure("read_peak_1e7", peaks[1] + each * (1e7 - rows), "MB,_drawn_on", at_most=2000)


def main() -> None:
    """Run all parts, the misspecified crowds first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1 if SHORT else 2)
    parser.add_argument("--rows", type=int, default=20_000 if SHORT else 1_000_000)
    parser.add_argument("--short", action="store_true", help="as BENCH_SHORT=1")
    chosen = parser.parse_args()
    if chosen.short and not SHORT:
        os.execve(sys.executable, [sys.executable, __file__], {**os.environ, "BENCH_SHORT": "1"})
    logging.disable(logging.WARNING)
    os.environ[VARIABLE] = KEY
    torch.set_num_threads(1)
    start = time.perf_counter()
    measure_others(chosen.seeds)
    measure_usual(chosen.seeds if SHORT else 4 * chosen.seeds)
    if REAL.is_file():
        measure_real()
    measure_network(chosen.seeds)
    apart(measure_size, chosen.rows)
    print(f"# {time.perf_counter() - start:.0f} s in all; {len(OPINIONS)} opinions on the grid")


if __name__ == "__main__":
    main()
