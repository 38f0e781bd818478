"""A survey with the predictions of a champion and some labels, of which a round is chosen."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from made_survey import TASK, TREE, Survey, draw_objects, is_unfit

from galaxymill import flags, products
from galaxymill.catalog.partition import partition, read_partitions
from galaxymill.rounds.choose import ChooseRequest, choose_subjects
from galaxymill.rounds.settings import ChooseSettings
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.spaces.space import Space, read_space, write_space
from galaxymill.splits import SplitSettings
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

GALAXIES, SAMPLES = 6000, 2
FEATURED = TREE.columns.index("smooth-or-featured_featured")
KNOWN = 300
"""The first galaxies, which have votes."""


def say(ids, rng):
    """Predict a sky that is mostly smooth."""
    n = len(ids)
    shares = np.empty((n, len(TREE.columns)))
    featured = rng.beta(0.35, 1.4, n)
    shares[:, :3] = np.column_stack([0.95 * (1 - featured), featured, 0.05 * (1 - featured)])
    shares[:, 3] = rng.uniform(0, 1, n)
    shares[:, 4] = 1 - shares[:, 3]
    drawn = np.stack([40 * shares, 60 * shares], axis=1).astype(np.float32) + 0.01
    values = TASK.summarise(drawn)
    # What members disagree on has nothing to do with the rest here.
    values |= {f"{q.name}_mutual-information": rng.uniform(0, 0.2, n) for q in TREE.questions}
    unfit = np.array([is_unfit(one) for one in ids])
    columns = {"object_id": ids, "flags": np.where(unfit, flags.BITS["no_coverage"], 0)}
    columns["concentrations"] = drawn.reshape(n, -1).tolist()
    columns |= values
    schema = products.predictions(TASK, SAMPLES)
    arrays = [
        pa.array(columns[name], kind, mask=None if name in ("object_id", "flags") else unfit)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.table(arrays, schema=schema)


class Sky(Survey):
    """A survey with the predictions of a champion, and some labels."""

    def __init__(self, root, per_partition=700, with_positions=True):
        super().__init__(root)
        objects = draw_objects(0, GALAXIES, 40, 10)
        path = self.catalog / "objects.parquet"
        write_product(path, objects, Origin("ingest"), objects.schema)
        partition(path, self.partitions, per_partition)
        told = say([f"g{row:05d}" for row in range(GALAXIES)], np.random.default_rng(5))
        for part in read_partitions(self.partitions):
            ids = pq.read_table(self.path("tiles", part.part))["object_id"].to_pylist()
            for folder, schema in (("cutouts", products.CUTOUTS), ("images", products.IMAGES)):
                rows = [{"object_id": one, "flags": 0} for one in ids]
                self.write(folder, part.part, pa.Table.from_pylist(rows, schema))
            rows = [int(one[1:]) for one in ids]
            self.write("predictions", part.part, told.take(rows))
        self.votes = root / "votes.parquet"
        names = [f"g{row:05d}" for row in range(KNOWN)]
        zero = {field.name: np.ones(KNOWN, np.int32) for field in TASK.label_fields()}
        schema = products.votes(TASK, with_positions=with_positions)
        columns = {"object_id": names, **zero, "split": ["train"] * KNOWN}
        if with_positions:
            known = objects.sort_by("object_id").slice(0, KNOWN)
            columns |= {"ra": known["ra"], "dec": known["dec"]}
        table = pa.table(columns).select(schema.names).cast(schema)
        write_product(self.votes, table, Origin("labels", {"task": TASK.to_dict()}), schema)

    def write_features(self, values):
        """Make a space of the survey, and its features of all galaxies."""
        space = self.root / "spaces" / "looks" / "space.yaml"
        space.parent.mkdir(parents=True)
        width = values.shape[1]
        facts = {"survey": "toy_survey", "prediction": "toy"}
        fitted = Space(
            {}, SpaceSettings(), np.zeros(width), np.eye(width), np.ones(width), {}, facts
        )
        write_space(space.parent, fitted, {})
        listed = self.root / "features" / "features.csv"
        listed.parent.mkdir()
        names = [part.part for part in read_partitions(self.partitions)]
        listed.write_text("".join(f"{name}\n" for name in ["part", *names]))
        schema = products.features(width, [])
        for name in names:
            ids = pq.read_table(self.path("tiles", name))["object_id"].to_pylist()
            rows = [values[int(one[1:])].astype("<f2").tobytes() for one in ids]
            columns = {"object_id": ids, "features": rows, "flags": [0] * len(ids)}
            table = pa.table([columns[one] for one in schema.names], schema=schema)
            inputs = {"space": read_space(space)[1]}
            origin = Origin("project", {}, inputs, {"survey": "toy_survey"})
            write_product(listed.parent / f"{name}.parquet", table, origin, schema)
        return space, listed

    def choose(self, number=1, before=(), space=None, **settings):
        settings = {"budget": 600, "featured": "smooth-or-featured_featured", **settings}
        out = (
            self.root
            / "rounds"
            / str(number)
            / f"{len(before)}{bool(space)}{settings}".replace("/", "")[:90]
        )
        out = out / "subjects.parquet"
        request = ChooseRequest(
            number,
            self.partitions,
            self.folders["predictions"],
            self.model,
            self.votes,
            tuple(before),
            ChooseSettings(**settings),
            SplitSettings(),
            space,
        )
        choose_subjects(request, out)
        return out

    def read(self):
        """All predictions, with positions."""
        names = [part.part for part in read_partitions(self.partitions)]
        tables = [pq.read_table(self.path("predictions", name)) for name in names]
        tiles = [pq.read_table(self.path("tiles", name)) for name in names]
        return pa.concat_tables(tables).to_pandas(), pa.concat_tables(tiles).to_pandas()
