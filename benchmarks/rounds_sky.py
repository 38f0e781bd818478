"""A sky of natural prevalence on disk, as the stages leave it, for the benchmark of rounds.

Seven galaxies of ten are smooth, a quarter are discs, of which half are barred and a seventh have
a ring; three in a hundred merge. Features are the project's hand-made ones: an encoder that is
trained needs labels first, and these are the same for every rule.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from galaxymill import products
from galaxymill.catalog.names import part_names
from galaxymill.catalog.partition import partition
from galaxymill.evaluation.features import image_features
from galaxymill.images.domains import domain
from galaxymill.images.recipes import RECIPES
from galaxymill.images.render import encode
from galaxymill.images.settings import DecalsSettings
from galaxymill.simulation.galaxies import render
from galaxymill.simulation.sky import simulate_sky
from galaxymill.simulation.volunteers import true_fractions, vote
from galaxymill.sky.healpix import healpix_pixels
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import Space, fit_components, read_space, write_space
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import read_columns, write_product
from galaxymill.tasks.votes.posterior import proportion_asked
from galaxymill.trees.tree import Tree, load_tree

TREE = Path(__file__).resolve().parents[1] / "config" / "trees" / "decals_dr5.yaml"
FEATURED = "smooth-or-featured-dr5_featured-or-disk"
KINDS = {"smooth": 0.70, "disc": 0.26, "merger": 0.03, "artifact": 0.01}
VOLUNTEERS = 40
WIDTH = 8.5
"""Of an image in units of the galaxy's petro_r90, as in Galaxy Zoo DECaLS."""
PIXELS, MIDDLE = 64, 44
"""Side of an image, and of the middle that features are measured on, as a network's view is."""
STEP = 1.05
"""Factor between pixel scales: those of all galaxies are a few, whose seeing is drawn once."""
COMPONENTS = 64

Floats = npt.NDArray[Any]


@dataclass
class Sky:
    """A pool of galaxies that volunteers may be asked about, and others to judge by.

    Attributes
    ----------
    truth, judged : pyarrow.Table
        Of the pool, and of the galaxies that no round touches.
    votes : pyarrow.Table
        What volunteers would answer about each galaxy of the pool.
    features : ndarray, shape (n_judged, components)
        Of the judged galaxies; the pool's are on disk.
    pictures : list of bytes
        Images of the judged galaxies.
    """

    folder: Path
    truth: pa.Table
    judged: pa.Table
    votes: pa.Table
    tree: Tree = field(default_factory=lambda: load_tree(TREE))
    features: Floats = field(default_factory=lambda: np.empty(0))
    pictures: list[bytes] = field(default_factory=list)

    def path(self, *names: str) -> Path:
        """A file of the survey; its folder is made."""
        path = self.folder.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def partitions(self) -> Path:
        """The list of tiles."""
        return self.path("catalog", "partitions.csv")

    @property
    def parts(self) -> list[str]:
        """Names of the tiles."""
        return part_names(self.partitions)

    @property
    def lists(self) -> tuple[Path, Path]:
        """The space, and the list of features."""
        return self.path("space", "space.yaml"), self.path("features", "features.csv")

    @property
    def ids(self) -> list[str]:
        """Galaxies of the pool."""
        names: list[str] = self.truth["object_id"].to_pylist()
        return names

    @property
    def positions(self) -> Floats:
        """Right ascension and declination of the pool, degrees."""
        return np.column_stack([self.truth["ra"].to_numpy(), self.truth["dec"].to_numpy()])

    def counts(self) -> Floats:
        """Votes of the pool, shape (n, n_answers)."""
        return np.column_stack([self.votes[name].to_numpy() for name in self.tree.columns])

    def truth_fractions(self) -> Floats:
        """True fraction of the pool's volunteers who see features, shape (n,)."""
        return true_fractions(self.truth, self.tree)[:, self.tree.columns.index(FEATURED)]

    def fractions(self) -> tuple[Floats, dict[str, Floats]]:
        """True fractions of the judged galaxies, and the proportions who come to each question."""
        true = true_fractions(self.judged, self.tree)
        # So many votes that they are the fractions.
        return true, proportion_asked(true[:, None] * 1e6 + 1e-6, self.tree)

    def export(self, names: Iterable[str], out: Path) -> Path:
        """Write what volunteers said of some galaxies, as it would come back."""
        asked = self.votes.filter(pa.array(np.isin(self.ids, list(names))))
        out.parent.mkdir(parents=True, exist_ok=True)
        csv.write_csv(asked, out)
        return out


def draw(truth: pa.Table) -> list[tuple[bytes, Floats]]:
    """Image, as a JPEG file, and hand-made features of each galaxy."""
    settings, found = DecalsSettings(size=PIXELS), []
    colour = RECIPES["decals"].colour
    assert colour is not None
    start, edge = (PIXELS - MIDDLE) // 2, (PIXELS + MIDDLE) // 2
    for row in range(truth.num_rows):
        one = truth.slice(row, 1)
        ra, dec, radius = (one[name][0].as_py() for name in ("ra", "dec", "petro_r90"))
        scale = STEP ** round(np.log(WIDTH * radius / PIXELS) / np.log(STEP))
        # Up is the last row of what is observed, and the first of what is shown.
        flux = render(one, ra, dec, scale, PIXELS)[:, ::-1]
        rgb = colour(dict(zip("grz", flux, strict=True)), settings)
        found.append((encode(rgb, settings), image_features(rgb[start:edge, start:edge])))
    return found


def make_sky(folder: Path, pool: int, judged: int, each: Callable[..., Iterable[Any]]) -> Sky:
    """Simulate the survey and write it; ``each`` maps a function over pieces, maybe at once."""
    truth = simulate_sky(pool + judged, kinds=KINDS)
    own = truth.slice(0, pool)
    sky = Sky(folder, own, truth.slice(pool), own)
    sky.votes = vote(own, sky.tree, votes_per_galaxy=VOLUNTEERS)
    pieces = [truth.slice(start, 500) for start in range(0, truth.num_rows, 500)]
    drawn = [one for piece in each(draw, pieces) for one in piece]
    _write_catalogue(sky)
    sky.pictures = [image for image, _ in drawn[pool:]]
    embeddings = np.array([values for _, values in drawn], np.float32)
    _write_galaxies(sky, [image for image, _ in drawn[:pool]], embeddings)
    return sky


def _write_catalogue(sky: Sky) -> None:
    ra, dec = sky.positions.T
    columns = {"object_id": sky.ids, "ra": ra, "dec": dec}
    columns["_healpix_29"] = healpix_pixels(ra, dec, 29)
    objects = pa.table(columns, schema=products.objects()).sort_by("_healpix_29")
    path = sky.path("catalog", "objects.parquet")
    write_product(path, objects, Origin("ingest"), objects.schema)
    partition(path, sky.partitions, 5000)


def _write_galaxies(sky: Sky, images: list[bytes], embeddings: Floats) -> None:
    """Write images, the space and the features of each tile, in its order."""
    pool = len(images)
    mean, rows, deviations, _ = fit_components(embeddings[:pool], COMPONENTS)
    settings = SpaceSettings(components=COMPONENTS)
    space = Space({"model": "by hand"}, settings, mean, rows, deviations, {}, {})
    write_space(sky.path("space", "space.yaml").parent, space, {})
    _, digest = read_space(sky.path("space", "space.yaml"))
    features, good = space.features(embeddings)
    assert good.all()
    sky.features = features[pool:]
    places = {name: row for row, name in enumerate(sky.ids)}
    kind = domain("sky", "decals", DecalsSettings(size=PIXELS))
    for part in sky.parts:
        names = read_columns(sky.path("catalog", "tiles", f"{part}.parquet"), ["object_id"])
        rows = [places[name] for name in names["object_id"].to_pylist()]
        table = pa.Table.from_pylist(
            [
                {"object_id": sky.ids[row], "image": {"bytes": images[row]}, "flags": 0}
                for row in rows
            ],
            products.IMAGES,
        )
        path = sky.path("images", f"{part}.parquet")
        write_product(path, table, Origin("render", {}, {}, kind), products.IMAGES)
        schema = products.features(len(deviations), [])
        packed = pa.array([features[row].tobytes() for row in rows], schema.field("features").type)
        flags = np.zeros(len(rows), np.int32)
        table = pa.table([names["object_id"], flags, packed], schema=schema)
        inputs = {"space": digest, "images": read_record(path).digest}
        out = sky.path("features", f"{part}.parquet")
        write_product(out, table, Origin("project", {}, inputs, kind), schema)
    for name in ("images.csv", "features/features.csv"):
        sky.path(*name.split("/")).write_text("part\n" + "\n".join(sky.parts) + "\n")
