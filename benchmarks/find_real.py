"""What is found on real galaxies: mergers by eight of them, and neighbours with the same votes.

Images and votes are those of Galaxy Zoo 2; which galaxies are mergers is in a table of their odd
features, which no model learns. Three kinds of features go through the same space and search:
ImageNet's, those of a model that learned from the votes on the very galaxies that are searched
(as a survey's model may have), and those of models that learned from the other half of the
galaxies, both ways. Not part of ``make bench``: the training takes a quarter of an hour. What is
made is kept under ``--out``, and not made again: delete it after a change of the code.

    make bench-find_real ARGS="--epochs 20"
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import yaml
from accuracy import EXAMPLE, GZ2, ROOT, TREE, galaxymill
from figures import figure

from galaxymill.search.likeness import Query
from galaxymill.search.scan import nearest, read_features
from galaxymill.spaces.fit import fit_space
from galaxymill.spaces.project import project
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import read_space
from galaxymill.splits import uniform
from galaxymill.trees.tree import load_tree

PART = "g0-k0-p0"
QUERIES, NEAREST, NEIGHBOURS = 8, 25, 10
JUDGED = ("smooth-or-featured-gz2", "disk-edge-on-gz2", "bar-gz2", "has-spiral-arms-gz2")
SETS = {"all": (0.0, 1.0), "one": (0.0, 0.5), "other": (0.5, 1.0)}
"""Which galaxies, by a hash of their names: all, and two halves."""

Values = npt.NDArray[np.float64]


def options() -> argparse.Namespace:
    """Read the command line."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--data", type=Path, default=GZ2, help="folder with votes.csv")
    known.add_argument("--odd", type=Path, default=GZ2.parent / "gz2_odd_features.csv")
    known.add_argument("--epochs", type=int, default=20)
    known.add_argument("--draws", type=int, default=200, help="times that eight are drawn")
    known.add_argument("--set", nargs="*", default=[], help="key=value for the training")
    known.add_argument("--out", type=Path, default=ROOT / "results" / "find_real")
    return known.parse_args()


def collect(chosen: argparse.Namespace, name: str) -> None:
    """Gather the votes and images of one set of galaxies."""
    low, high = SETS[name]
    folder, votes = chosen.out / name, chosen.data / "votes.csv"
    if (folder / "votes.parquet").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with votes.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if low <= uniform(f"half:{r['object_id']}") < high]
    table = folder / "votes.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    named = "--name", "pictures"
    galaxymill("label-images", folder / "images.parquet", chosen.data, table, *named)
    splits = [word for key in ("train=0.85", "val=0.15", "test=0") for word in ("--split", key)]
    galaxymill("labels", folder / "votes.parquet", table, "--tree", TREE, *splits)


def train(chosen: argparse.Namespace, name: str, learned: str, **given: object) -> Path:
    """Train a model from ImageNet weights on one set of galaxies; gives its model.yaml."""
    out: Path = chosen.out / "models" / name / "model.yaml"
    example = yaml.safe_load(EXAMPLE.read_text())["models"]["mine"]["train"]
    own = {"image_size": 128, "zoom": "1.2,1.4", "members": 1, "epochs": chosen.epochs}
    settings = example | own | given
    words = [f"{key}={value}" for key, value in settings.items()] + chosen.set
    labelled = "--votes", chosen.out / learned / "votes.parquet"
    images = "--images", chosen.out / learned / "images.parquet"
    if not out.exists():
        galaxymill("train", out, *labelled, *images, *(w for s in words for w in ("--set", s)))
    return out


class Field:
    """The features of one set of galaxies by one model, and what volunteers saw in them."""

    def __init__(self, chosen: argparse.Namespace, model: Path, searched: str) -> None:
        folder = chosen.out / "searched" / f"{model.parent.name}-{searched}"
        self.features = folder / "features" / f"{PART}.parquet"
        if not self.features.exists():
            self._project(model, chosen.out / searched / "images.parquet", folder)
        self.space, _ = read_space(folder / "space" / "space.yaml")
        rows, self.values = read_features(self.features)
        self.ids = pq.read_table(self.features, columns=["object_id"])["object_id"].to_pylist()
        assert len(rows) == len(self.ids), "every picture has features"
        self.places = {name: row for row, name in enumerate(self.ids)}

    def _project(self, model: Path, images: Path, folder: Path) -> None:
        kinds = {kind: folder / kind / f"{PART}.parquet" for kind in ("predictions", "embeddings")}
        words = ["predict", images, "--model", model, "--out", kinds["predictions"]]
        galaxymill(*words, "--embeddings", kinds["embeddings"], "--set", "views=8")
        (folder / "parts.csv").write_text(f"part\n{PART}\n")
        space = folder / "space" / "space.yaml"
        parents = [kinds[kind].parent for kind in ("embeddings", "predictions")]
        fit_space(folder / "parts.csv", *parents, space, SpaceSettings())
        project(kinds["embeddings"], kinds["predictions"], space, self.features)

    def mergers(self, is_merger: dict[str, bool], draws: int, whiten: bool) -> float:
        """Share of mergers among the nearest of eight that are drawn, mean over draws."""
        known = np.array([is_merger[name] for name in self.ids])
        rng = np.random.default_rng(1)
        drawn = [rng.choice(np.flatnonzero(known), QUERIES, replace=False) for _ in range(draws)]
        deviations = self.space.deviations if whiten else None
        queries = [Query(self.values[rows], deviations, "eight mergers") for rows in drawn]
        found = self._others(queries, drawn, NEAREST)
        return float(np.mean([known[rows] for rows in found]))

    def vote_error(self, fractions: dict[str, Values]) -> float:
        """Mean difference of vote fractions between a galaxy and its nearest ten."""
        everyone = np.arange(len(self.ids))
        queries = [Query(self.values[[row]], None, self.ids[row]) for row in everyone]
        found = self._others(queries, [[row] for row in everyone], NEIGHBOURS)
        table = np.stack([fractions[name] for name in self.ids])
        return difference(table, np.array(found))

    def _others(
        self, queries: Sequence[Query], asked: Sequence[Sequence[int]], count: int
    ) -> list[list[int]]:
        hits = nearest([self.features], queries, count + max(map(len, asked)))
        return [
            [hit.row for hit in one if hit.row not in set(rows)][:count]
            for one, rows in zip(hits, asked, strict=True)
        ]


def difference(table: Values, found: npt.NDArray[np.int64]) -> float:
    """Mean |Δ fraction| of galaxies and those found for each; nothing where one was not asked."""
    return float(np.nanmean(np.abs(table[found] - table[:, None])))


def read_fractions(votes: Path) -> dict[str, Values]:
    """Vote fractions of the first answer of each question that is judged, by galaxy."""
    asked = [q for q in load_tree(TREE).questions if q.name in JUDGED]
    columns = [load_tree(TREE).columns[q.slice] for q in asked]
    with votes.open(newline="") as file:
        rows = list(csv.DictReader(file))
    counts = [[[float(row[name]) for name in names] for names in columns] for row in rows]
    fractions = [[q[0] / sum(q) if sum(q) else np.nan for q in one] for one in counts]
    return {row["object_id"]: np.array(one) for row, one in zip(rows, fractions, strict=True)}


def read_mergers(odd: Path) -> dict[str, bool]:
    """Which galaxies are mergers."""
    with odd.open(newline="") as file:
        return {row["object_id"]: row["is_merger"] == "1" for row in csv.DictReader(file)}


def main() -> None:
    """Train, project, search and judge."""
    chosen = options()
    for name in SETS:
        collect(chosen, name)
    # The encoder stays ImageNet's where only the head learns.
    plain = train(chosen, "imagenet", "all", trainable="head", epochs=1)
    same, one, other = (train(chosen, f"of_{name}", name) for name in SETS)
    fields = {
        "imagenet_all": [Field(chosen, plain, "all")],
        "own_all": [Field(chosen, same, "all")],
        "imagenet_half": [Field(chosen, plain, "one"), Field(chosen, plain, "other")],
        "own_other_half": [Field(chosen, other, "one"), Field(chosen, one, "other")],
    }
    is_merger, fractions = read_mergers(chosen.odd), read_fractions(chosen.data / "votes.csv")
    for name, judged in fields.items():
        for way in ("plain", "whitened"):
            shares = [one.mergers(is_merger, chosen.draws, way == "whitened") for one in judged]
            least = 0.62 if (name, way) == ("imagenet_all", "whitened") else None
            figure(f"find_mergers_{name}_{way}", float(np.mean(shares)), "", at_least=least)
        error = float(np.mean([one.vote_error(fractions) for one in judged]))
        most = 0.17 if name == "own_other_half" else None
        figure(f"find_vote_error_{name}", error, "", at_most=most)
    table = np.stack(list(fractions.values()))
    drawn = np.random.default_rng(1).integers(0, len(table), (len(table), NEIGHBOURS))
    figure("find_vote_error_random", difference(table, drawn), "")
    figure("find_mergers_random", float(np.mean(list(is_merger.values()))), "")


if __name__ == "__main__":
    main()
