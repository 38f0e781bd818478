"""Probes on features: CPU seconds of fitting and of predicting a million galaxies, beside
scikit-learn; and how well few labels of real galaxies tell the others apart.

The real part takes ImageNet features (the packaged weights, 128 pixels, 8 views) of the 698 images
of Galaxy Zoo 2 and of the 100 of DECaLS with and without rings: a floor for models of one's own.
With ``--embeddings`` it takes those of models of one's own, a file of galaxies of Galaxy Zoo 2 for
each network, for the ``--kinds`` that are no question of the network's. Galaxies that it learned
from, of the ``--votes`` in the same order, may be among those that a probe learns from, where there
are too few others; they are never judged.

    make bench-probe ARGS="--embeddings one.parquet other.parquet --votes one/votes.parquet ..."
"""

import argparse
import csv
import logging
import tempfile
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from figures import SHORT, best_seconds, figure
from sklearn.linear_model import LogisticRegression

from galaxymill import products
from galaxymill.images.pixels import central_pixels
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.initial import initial_network
from galaxymill.models.network import pooled
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.models.settings import PACKAGE, PACKAGE_ENCODER, TrainSettings
from galaxymill.models.views import dihedral_views
from galaxymill.probes.fit import Labelled, fit, fit_members
from galaxymill.probes.network import feature_scale, predict_all
from galaxymill.probes.predict import apply
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import Space, fit_components, read_space, write_space
from galaxymill.splits import assign_folds
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import ClassTask
from galaxymill.trees.tree import parse_tree

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
GALAXIES, WIDTH = (20_000 if SHORT else 1_000_000), 64
DRAWS = 2 if SHORT else 24
GOALS = {"mergers": 0.85, "edge_on": 0.92, "spirals": 0.91}
TASK = ClassTask(
    parse_tree({"name": "k", "questions": {"kind": {"answers": ["yes", "no"]}}}, "kinds")
)
SETTINGS = ProbeSettings(features="dr1")
DOMAIN = {"survey": "sky", "recipe": "passthrough", "render_version": 1}


def write_survey(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write a space, features and labels of many galaxies; give features and classes."""
    random = np.random.default_rng(1)
    deviations = 4 * np.arange(1, WIDTH + 1) ** -0.5
    values = (random.normal(size=(GALAXIES, WIDTH)) * deviations).round(3).astype("<f2")
    weights = random.normal(size=WIDTH) / deviations / 3
    classes = (values @ weights + random.logistic(size=GALAXIES) > 0).astype(int)
    names = [f"galaxy{number}" for number in range(GALAXIES)]
    settings = SpaceSettings(components=WIDTH)
    space = Space(
        {"model": "m"}, settings, *(np.zeros(9), np.zeros((WIDTH, 9)), deviations), {}, {}
    )
    write_space(folder, space, {})
    _, digest = read_space(folder / "space.yaml")
    packed = pa.Array.from_buffers(
        pa.binary(2 * WIDTH), GALAXIES, [None, pa.py_buffer(values.tobytes())]
    )
    schema = products.features(WIDTH, [])
    columns = [names, np.zeros(GALAXIES, np.int32), packed]
    origin = Origin("project", {}, {"space": digest, "images": "i"}, DOMAIN)
    write_product(folder / "part.parquet", pa.table(columns, schema=schema), origin, schema)
    (folder / "features.csv").write_text("part\npart\n")
    schema = products.votes(TASK, with_positions=False)
    counts = [
        pa.array(column, field.type)
        for column, field in zip(
            [names, classes, 1 - classes, np.where(np.arange(GALAXIES) % 10, "train", "test")],
            schema,
            strict=True,
        )
    ]
    labels = Origin("labels", {"task": TASK.to_dict()})
    write_product(folder / "votes.parquet", pa.table(counts, schema=schema), labels, schema)
    return values, classes


def measure_speed(folder: Path) -> None:
    """Fit to a million labels, predict a million galaxies; scikit-learn learns from all."""
    torch.set_num_threads(1)
    values, classes = write_survey(folder)
    model, out = folder / "model" / "model.yaml", folder / "out.parquet"
    model.parent.mkdir()

    def learn() -> None:
        fit(
            [folder / "votes.parquet"],
            *(folder / n for n in ("features.csv", "space.yaml")),
            model,
            SETTINGS,
        )

    seconds = best_seconds(learn, 2)
    figure("fit_seconds", seconds, f"CPU_s_per_{GALAXIES}_labels", at_most=5)

    def predict() -> None:
        out.unlink(missing_ok=True)
        apply(folder / "part.parquet", model, out, PredictSettings())

    figure("predict_seconds", best_seconds(predict, 2), f"CPU_s_per_{GALAXIES}", at_most=5)
    table = pq.read_table(out, columns=["kind_yes_probability"])
    test = np.arange(GALAXIES) % 10 == 0
    ours = (table["kind_yes_probability"].to_numpy()[test] > 0.5) == classes[test]
    wide = values.astype(np.float32)
    oracle = LogisticRegression(max_iter=200)
    slow = best_seconds(lambda: oracle.fit(wide[~test], classes[~test]), 1)
    figure("scikit_learn_fit_seconds", slow, "CPU_s")
    theirs = (oracle.predict(wide[test]) == classes[test]).mean()
    figure("accuracy_behind_scikit_learn", theirs - ours.mean(), "share", at_most=0.001)


def view_embeddings(files: list[Path]) -> np.ndarray:
    """Mean over views of the packaged encoder's features of image files."""
    settings = TrainSettings(
        encoder=PACKAGE_ENCODER, weights=PACKAGE, image_size=128, zoom=(1.2, 1.4)
    )
    network, found = initial_network(settings, TASK).eval(), []
    with torch.inference_mode():
        for start in range(0, len(files), 32):
            pixels = np.stack(
                [
                    central_pixels(file.read_bytes(), settings.side, settings.image_size)
                    for file in files[start : start + 32]
                ]
            )
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
            views = torch.stack([pooled(network.features(v)) for v in dihedral_views(images, 8)])
            found.append(views.mean(0).numpy())
    return np.concatenate(found).astype(np.float16)


def to_features(embeddings: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of a space that is fitted to these very galaxies, and their deviations."""
    mean, rows, deviations, _ = fit_components(embeddings.astype(np.float64), components)
    settings = SpaceSettings(components=components)
    features, _ = Space({}, settings, mean, rows, deviations, {}, {}).features(embeddings)
    return features, deviations


def draws(
    truth: np.ndarray, learned: int, others: int, seen: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw galaxies to learn from, so many of each side, and give them with those to judge.

    Of each side, a third of as many as the rarer has among galaxies that the network has not
    ``seen`` is left to judge; those that it has seen are learned from last, and not judged.
    """
    most = round(2 / 3 * int((truth & ~seen).sum()))
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        train = []
        for side, count in ((True, learned), (False, others)):
            mixed = random.permutation(np.flatnonzero(truth == side))
            new = mixed[~seen[mixed]][: min(count, most) if seen.any() else count]
            train += [new, mixed[seen[mixed]][: count - len(new)]]
        chosen = np.concatenate(train)
        yield chosen, np.setdiff1d(np.flatnonzero(~seen), chosen)


def balanced(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean of the shares of both sides that are right."""
    return (said[truth].mean() + (~said[~truth]).mean()) / 2


def ours(features: np.ndarray, deviations: np.ndarray) -> Callable[..., np.ndarray]:
    """Make a function that learns from some galaxies and says of which class others are."""

    def say(train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
        labels = np.column_stack([truth, ~truth])[train].astype(float)
        home = assign_folds([str(one) for one in train], None, SETTINGS.folds).astype(np.int64)
        given = map(torch.from_numpy, (features[train].astype(float), labels, home))
        probes, _ = fit_members(Labelled(*given), TASK, SETTINGS, feature_scale(deviations))
        return predict_all(probes, features[test]).mean(1).numpy().argmax(1) == 0

    return say


def measure(name: str, goal: float, learned: tuple[int, int], sets) -> None:
    """Print the balanced accuracy of a probe, mean and scatter over draws of the labels.

    ``sets`` are of which galaxies are of the kind, of which a network has learned, and their
    features with deviations.
    """
    scores, oracle = [], []
    for truth, seen, (features, deviations) in sets:
        say = ours(features, deviations)
        scaled = features.astype(float) / deviations
        for train, test in draws(truth, *learned, seen):
            scores.append(balanced(truth[test], say(train, truth, test)))
            simple = LogisticRegression(max_iter=2000).fit(scaled[train], truth[train])
            oracle.append(balanced(truth[test], simple.predict(scaled[test])))
    unit = f"balanced_accuracy_from_{sum(learned)}_labels"
    figure(name, float(np.mean(scores)), unit, at_least=goal)
    figure(f"{name}_scatter", float(np.std(scores)), f"of_{len(scores)}_draws")
    figure(f"{name}_scikit_learn", float(np.mean(oracle)), "standardised,_C=1")


def fractions(rows: dict[str, dict[str, str]], names: list[str], answer: str) -> np.ndarray:
    """Share of an answer among the votes on its question."""
    question = answer.rsplit("_", 1)[0] + "_"
    found = []
    for name in names:
        total = sum(int(n) for key, n in rows[name].items() if key.startswith(question))
        found.append(int(rows[name][answer]) / max(total, 1))
    return np.array(found)


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    """Rows of a table by object_id."""
    with path.open(newline="") as file:
        return {row["object_id"]: row for row in csv.DictReader(file)}


def kinds_of(names: list[str]) -> dict[str, np.ndarray]:
    """Which galaxies of Galaxy Zoo 2 are of each kind."""
    votes = read_rows(DATA / "gz2_sdss_jpeg" / "votes.csv")
    odd = read_rows(DATA / "gz2_odd_features.csv")
    disk = fractions(votes, names, "smooth-or-featured-gz2_featured-or-disk")
    return {
        "mergers": np.array([odd[name]["is_merger"] == "1" for name in names]),
        "edge_on": disk * fractions(votes, names, "disk-edge-on-gz2_yes") > 0.6,
        "spirals": disk * fractions(votes, names, "has-spiral-arms-gz2_yes") > 0.6,
    }


def measure_kinds(
    label: str,
    sets: list[tuple[list[str], np.ndarray, set[str]]],
    components: int,
    kinds: list[str],
) -> None:
    """Kinds of galaxies of Galaxy Zoo 2, by the embeddings of each set, some of it learned from."""
    made = [
        (kinds_of(names), np.isin(names, list(seen)), to_features(values, components))
        for names, values, seen in sets
    ]
    for kind in kinds:
        # Two thirds of them, and as many others: what is left is as rare as it is.
        learned = round(2 / 3 * min(truths[kind].sum() for truths, _, _ in made))
        if learned > 1:
            judged = [(truths[kind], seen, features) for truths, seen, features in made]
            measure(label + kind, GOALS[kind], (learned, learned), judged)


def read_embeddings(path: Path) -> tuple[list[str], np.ndarray]:
    """Galaxies of a product of embeddings, which all have one, and these."""
    table = pq.read_table(path)
    names = table["object_id"].to_pylist()
    values = table["embedding"].combine_chunks().flatten().to_numpy()
    return names, values.reshape(len(names), -1)


def measure_real(components: int) -> None:
    """Mergers, edge-on disks and spirals of Galaxy Zoo 2, rings of DECaLS."""
    # Some of each kind are among the first two hundred.
    files = sorted((DATA / "gz2_sdss_jpeg" / "images").iterdir())[: 200 if SHORT else None]
    whole = [([file.stem for file in files], view_embeddings(files), set[str]())]
    measure_kinds("", whole, components, list(GOALS))
    folder = DATA / "rings_decals_png"
    rows = read_rows(folder / "labels.csv")
    rings = list(rows)[:: 3 if SHORT else 1]
    truth = np.array([rows[name]["ring"] == "1" for name in rings])
    made = to_features(view_embeddings([folder / rows[n]["file_loc"] for n in rings]), components)
    shares = [round(0.8 * int((truth == side).sum())) for side in (True, False)]
    measure("rings", 0.8, (shares[0], shares[1]), [(truth, truth & False, made)])


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, default=256, help="of the space of real galaxies")
    parser.add_argument("--embeddings", type=Path, nargs="*", default=[])
    parser.add_argument("--votes", type=Path, nargs="*", default=[])
    parser.add_argument("--kinds", nargs="*", choices=list(GOALS), default=["mergers"])
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    if chosen.embeddings:
        seen = [pq.read_table(path)["object_id"].to_pylist() for path in chosen.votes]
        pairs = zip_longest(chosen.embeddings, seen, fillvalue=())
        sets = [(*read_embeddings(path), set(names)) for path, names in pairs]
        measure_kinds("own_", sets, chosen.components, chosen.kinds)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure_speed(Path(folder))
    if (DATA / "gz2_sdss_jpeg").is_dir():
        measure_real(chosen.components)


if __name__ == "__main__":
    main()
