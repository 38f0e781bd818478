"""Interesting galaxies found among 110 that are rated, by all methods in one run.

The 698 images of Galaxy Zoo 2, features of ImageNet (the packaged weights, 128 pixels, 8 views),
and which of them volunteers called mergers, irregular, rings or lenses. Ten random galaxies are
rated first, then ten batches of ten. A rating is 5 for one of the kind and 0 for others.

Beside the product: random choice, an isolation forest, Astronomaly's NeighbourScore (Lochner &
Bassett 2021: a random forest learns the ratings, and the forest's anomalies are preferred where no
rated galaxy is near), and a balanced logistic regression, which must not be much better.
"""

from collections.abc import Callable

import numpy as np
import torch
from figures import SHORT, figure
from probe import DATA, read_rows, to_features, view_embeddings
from sklearn.ensemble import IsolationForest, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

from galaxymill.interest.choose import choose_batch
from galaxymill.interest.process import distances, feature_scale, fit_process

COMPONENTS, FIRST, BATCH, RATED = 128, 10, 10, 110
SEEDS, MORE = range(1 if SHORT else 10), range(2 if SHORT else 50)
"""Of all methods, and of the two that are nearest to each other: ten leave much to chance."""
GOALS = {"merger": 60, "irregular": 10, "ring": None, "lens": None}
TIMES = 2.5

Array = np.ndarray
Next = Callable[[Array, Array, np.random.Generator], Array]
"""From the rows that are rated, their ratings and a generator, all galaxies from best to worst."""


def kinds() -> tuple[list[str], dict[str, Array]]:
    """Names of the galaxies, and which are of each kind."""
    odd = read_rows(DATA / "gz2_odd_features.csv")
    files = sorted((DATA / "gz2_sdss_jpeg" / "images").iterdir())[: 200 if SHORT else None]
    names = [file.stem for file in files]

    def of(column: str) -> Array:
        return np.array([float(odd[name][column]) for name in names])

    found = {kind: of(f"is_{kind}") > 0.5 for kind in ("merger", "irregular")}
    # Of all volunteers, not of those alone who saw something odd.
    found["ring"] = of("odd") * of("ring") > 0.2
    found["lens"] = of("odd") * of("lens_or_arc") > 0.05
    return names, found


def found_by(method: Next, truth: Array, seed: int) -> int:
    """How many of the kind are among those that are rated."""
    rng = np.random.default_rng(seed)
    rated = rng.choice(len(truth), FIRST, replace=False)
    while len(rated) < RATED:
        order = method(rated, 5.0 * truth[rated], rng)
        rated = np.concatenate([rated, order[~np.isin(order, rated)][:BATCH]])
    return int(truth[rated].sum())


def methods(features: Array, deviations: Array) -> dict[str, Next]:
    """All methods by name."""
    scale = feature_scale(deviations)
    scaled = features * scale
    scaled /= np.sqrt(np.square(scaled).sum(axis=1).mean())
    everyone = np.arange(len(features))
    odd = -IsolationForest(random_state=0).fit(scaled).score_samples(scaled)
    strange = np.argsort(-odd)
    away = distances(scaled, scaled)

    def ours(rated: Array, ratings: Array, rng: np.random.Generator) -> Array:
        others = np.setdiff1d(everyone, rated)
        process = fit_process(features[rated], ratings, scale)
        return others[choose_batch(process, features[others], BATCH, rng)]

    def chance(rated: Array, ratings: Array, rng: np.random.Generator) -> Array:
        return rng.permutation(everyone)

    def forest(rated: Array, ratings: Array, rng: np.random.Generator) -> Array:
        return strange

    def neighbours(rated: Array, ratings: Array, rng: np.random.Generator) -> Array:
        learned = RandomForestRegressor(100, random_state=0).fit(scaled[rated], ratings)
        said = learned.predict(scaled)
        said = 0.1 + 0.85 * said / max(said.max(), 1e-9)
        near = away[:, rated].min(axis=1)
        plain = (odd - odd.min()) / np.ptp(odd)
        return np.argsort(-plain * np.tanh(np.exp(near / near.mean()) - 1 + np.arctanh(said)))

    def logistic(rated: Array, ratings: Array, rng: np.random.Generator) -> Array:
        if ratings.min() == ratings.max():
            return rng.permutation(everyone)
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(3 * scaled[rated], ratings > 0)
        return np.argsort(-model.decision_function(3 * scaled))

    return {
        "process": ours,
        "random": chance,
        "forest": forest,
        "neighbour_score": neighbours,
        "logistic": logistic,
    }


def race() -> None:
    """Race, and print."""
    torch.set_num_threads(1)
    names, truths = kinds()
    folder = DATA / "gz2_sdss_jpeg" / "images"
    files = [next(folder.glob(f"{name}.*")) for name in names]
    features, deviations = to_features(view_embeddings(files), COMPONENTS)
    runners = methods(features, deviations)
    for kind, truth in truths.items():
        found = {
            name: np.array([found_by(method, truth, seed) for seed in SEEDS])
            for name, method in runners.items()
        }
        for name, counts in found.items():
            least = GOALS[kind] if name == "process" else None
            figure(f"{kind}_{name}", float(counts.mean()), f"of_{truth.sum()}", at_least=least)
        error = found["logistic"].std() / max(len(SEEDS) - 1, 1) ** 0.5
        least = found["logistic"].mean() - error
        mean = found["process"].mean()
        figure(f"{kind}_over_logistic_less_its_error", mean / max(least, 1e-9), "", at_least=1)
        for name in ("process", "logistic"):
            more = np.array([found_by(runners[name], truth, seed) for seed in MORE])
            figure(f"{kind}_{name}_of_{len(MORE)}_seeds", more.mean(), f"of_{truth.sum()}")
            figure(f"{kind}_{name}_error", more.std() / (len(more) - 1) ** 0.5, "")
        peer = max(found["neighbour_score"].mean(), 1e-9)
        figure(f"{kind}_over_neighbour_score", mean / peer, "", at_least=TIMES)
