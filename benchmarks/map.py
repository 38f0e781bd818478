"""Maps: how true they are, and CPU seconds to fit one, to place galaxies, and to project them.

Galaxies are given as an array of features of some real ones in several views, else made up; more
are mixed between neighbours. Truth is judged on galaxies that the map was not fitted to:
trustworthiness (Venna & Kaski 2001) of the 30 nearest on the map, and the share of the 30 nearest
by features that are among the 300 nearest on the map. Both are among 5,000 galaxies; among 20,000,
where 300 is a share four times smaller, that share is printed too. umap-learn fits the same
galaxies and transforms the same others where it is installed; so do the first two components.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
from figures import SHORT, best_seconds, figure

from galaxymill import products
from galaxymill.spaces.fit import embedding_kind
from galaxymill.spaces.placer import Placer
from galaxymill.spaces.project import project
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import Space, fit_components, write_space
from galaxymill.spaces.umap import fit_map
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import ROWS_PER_GROUP, open_product

FITTED, HELD_OUT, STEPS, PROJECTED = (
    (600, 400, 20, 300) if SHORT else (50_000, 20_000, 3000, 50_000)
)
NEAR, WIDE, COMPONENTS, JUDGED = 30, 300, 64, 5_000
KINDS, VIEWS = 700, 8
ORIGIN = Origin("predict", {}, {"images": "i", "model": "m"})


def views(file: Path | None) -> np.ndarray:
    """Give vectors of galaxies in several views, shape (galaxies, views, width)."""
    if file is not None:
        return np.load(file).astype(np.float64)
    rng = np.random.default_rng(1)
    width = 256
    spread = np.arange(1, width + 1) ** -0.7
    galaxies = rng.normal(0, 1, (KINDS, 1, width)) * spread
    return galaxies + rng.normal(0, 0.5, (KINDS, VIEWS, width)) * spread


def mix(seen: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Make more galaxies: between a view of one and a view of one of its ten neighbours."""
    rng = np.random.default_rng(seed)
    means = seen.mean(axis=1)
    means -= means.mean(axis=0)
    squares = np.square(means).sum(axis=1)
    near = np.argsort(squares[:, None] + squares - 2 * means @ means.T, axis=1)[:, 1:11]
    one = rng.integers(len(seen), size=count)
    other = near[one, rng.integers(10, size=count)]
    share = rng.random((count, 1))
    which = rng.integers(seen.shape[1], size=(2, count))
    mixed = (1 - share) * seen[one, which[0]] + share * seen[other, which[1]]
    return mixed + rng.normal(size=mixed.shape) * seen.std(axis=(0, 1)) * 0.1


def share_found(features: np.ndarray, places: np.ndarray) -> float:
    """Give the share of the nearest by features that are found on the map, with some patience."""
    from sklearn.neighbors import NearestNeighbors

    wide = min(WIDE, len(places) - 1)
    near = NearestNeighbors().fit(features).kneighbors(n_neighbors=NEAR, return_distance=False)
    found = NearestNeighbors().fit(places).kneighbors(n_neighbors=wide, return_distance=False)
    pairs = zip(near.tolist(), found.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / NEAR for a, b in pairs]))


def judge(
    name: str, features: np.ndarray, places: np.ndarray, goals: Sequence[float | None]
) -> None:
    """Print how true a map is for galaxies that it was not fitted to."""
    from sklearn.manifold import trustworthiness

    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    some, there = unit[:JUDGED], places[:JUDGED]
    trust = float(trustworthiness(some, there, n_neighbors=NEAR))
    figure(f"{name}_trustworthiness", trust, "share", at_least=goals[0])
    found = share_found(some, there)
    figure(f"{name}_nearest_30_in_300", found, "share", at_least=goals[1])
    figure(f"{name}_nearest_30_in_300_of_all", share_found(unit, places), "share")


def fit(features: np.ndarray, others: np.ndarray) -> Placer:
    """Fit a map, and print how true it is for others."""
    start = time.process_time()
    placer = fit_map(features, SpaceSettings().neighbours, STEPS, 1)
    figure("map_fit", time.process_time() - start, "CPU s", at_most=300)
    judge("map", others, placer.place(others), (0.92, 0.80))
    seconds = best_seconds(lambda: placer.place(features), 3)
    figure("map_place_ten_million", 1e7 * seconds / len(features), "CPU s", at_most=60)
    return placer


def peers(features: np.ndarray, others: np.ndarray) -> None:
    """Print the same of the first two components, and of umap-learn."""
    judge("map_two_components", others, others[:, :2], (None, None))
    if find_spec("umap") is None:
        print("# umap-learn is not installed: pip install umap-learn, to compare")
        return
    from umap import UMAP

    start = time.process_time()
    fitted = UMAP(n_neighbors=15, metric="cosine", random_state=1).fit(features)
    figure("map_umap_learn_fit", time.process_time() - start, "CPU s")
    start = time.process_time()
    places = fitted.transform(others)
    each = (time.process_time() - start) / len(others)
    figure("map_umap_learn_place_ten_million", 1e7 * each, "CPU s")
    judge("map_umap_learn", others, places, (None, None))


def products_of(folder: Path, vectors: np.ndarray) -> tuple[Path, Path]:
    """Write a partition's embeddings and predictions, as the stage does."""
    names = [f"{row:019d}" for row in range(len(vectors))]
    lists = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.astype(np.float16).ravel()), vectors.shape[1]
    )
    flagged = pa.schema([products.OBJECT_ID, products.FLAGS])
    bits = np.zeros(len(names), np.int32)
    paths = folder / "embeddings.parquet", folder / "predictions.parquet"
    for path, schema, columns in (
        (paths[0], products.embeddings(vectors.shape[1]), [names, lists]),
        (paths[1], flagged, [names, bits]),
    ):
        table = pa.table(columns, schema=schema)
        with open_product(path, schema, ORIGIN) as writer:
            for start in range(0, len(names), ROWS_PER_GROUP):
                writer.write(table.slice(start, ROWS_PER_GROUP))
    return paths


def projecting(vectors: np.ndarray, placer: Placer, goal: float | None) -> None:
    """Print how many galaxies a CPU second get features, and features and a place."""
    mean, components, deviations, _ = fit_components(vectors[:20_000], COMPONENTS)
    width = vectors.shape[1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = products_of(folder, vectors)
        for name, maps in (("", {}), ("_and_map", {"all": placer})):
            settings = SpaceSettings(maps={key: {} for key in maps})
            kind = embedding_kind(ORIGIN.to_dict())
            space = Space(kind, settings, mean, components, deviations, maps, {})
            write_space(folder, space, {})

            def run() -> None:
                (folder / "out.parquet").unlink(missing_ok=True)
                project(*sources, folder / "space.yaml", folder / "out.parquet")

            rate = len(vectors) / best_seconds(run, 3)
            least = goal if not name else None
            figure(f"project_{width}{name}", rate, "galaxies/CPU s", at_least=least)


def main() -> None:
    """Measure; the argument is an array of vectors, shape (galaxies, views, width), as ``.npy``."""
    seen = views(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    vectors = mix(seen, FITTED + HELD_OUT, 7)
    mean, components, _, _ = fit_components(vectors[:FITTED], COMPONENTS)
    features = (((vectors - mean) @ components.T * 1024).round() / 1024).astype(np.float32)
    placer = fit(features[:FITTED], features[FITTED:])
    peers(features[:FITTED], features[FITTED:])
    rng = np.random.default_rng(3)
    for width, goal in ((256, 200_000), (1280, None)):
        projecting(rng.normal(0, np.geomspace(3, 0.1, width), (PROJECTED, width)), placer, goal)


if __name__ == "__main__":
    main()
