"""A survey on disk, with the products of every stage, of which releases are made."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxymill import flags, products
from galaxymill.catalog.partition import partition, read_partitions
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, write_model
from galaxymill.release.merge import Request, merge_release
from galaxymill.release.settings import ReleaseSettings
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import VoteTask
from galaxymill.trees.tree import parse_tree

TREE = parse_tree(
    {
        "name": "toy",
        "questions": {
            "smooth-or-featured": {"answers": ["smooth", "featured", "artifact"]},
            "bar": {
                "answers": ["yes", "no"],
                "asked_after": ["smooth-or-featured_featured"],
            },
        },
    },
    "toy",
)
TASK = VoteTask(TREE)
SAMPLES = 3
DOMAIN = {"survey": "toy_survey", "recipe": "decals", "render_version": 1}
UNFIT_EVERY = 17
PAYLOAD_BYTES = 20_000


def draw_objects(start, stop, ra, dec):
    from hats.pixel_math.spatial_index import compute_spatial_index

    generator = np.random.default_rng(start)
    n = stop - start
    ras = (ra + generator.uniform(-8, 8, n)) % 360
    decs = dec + generator.uniform(-8, 8, n)
    radii = np.where(np.arange(n) % 5 == 0, np.nan, generator.uniform(1, 5, n))
    kept = pa.field("mag_r", pa.float32(), metadata={"description": "r band", "unit": "mag"})
    return pa.table(
        [
            [f"g{index:05d}" for index in range(start, stop)],
            ras,
            decs,
            compute_spatial_index(ras, decs).astype(np.int64),
            radii,
            [f"/somewhere/{index}.fits" for index in range(start, stop)],
            generator.uniform(14, 20, n).astype(np.float32),
        ],
        schema=products.objects(["petro_r50", "file_loc"], [kept]),
    ).sort_by("_healpix_29")


class Survey:
    """A survey on disk, written with the products' own schemas; made to be tampered with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalog = root / "catalog"
        self.partitions = self.catalog / "partitions.csv"
        self.folders = {
            "tiles": self.catalog / "tiles",
            "cutouts": root / "cutouts",
            "images": root / "images",
            "predictions": root / "predictions" / "toy",
        }
        self.said: dict[str, Path] = {}
        self.write_model()

    @property
    def model(self) -> Path:
        return self.root / "models" / "toy" / "model.yaml"

    def write_model(self, task=TASK, name="toy", weights="w" * 64, domain=DOMAIN):
        """Write the card of a model; the digest is its own."""
        folder = self.root / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        origin = Origin("train", {"encoder": "resnet18"}, {"votes": "v" * 64}, domain)
        settings = TrainSettings(encoder="resnet18.a1_in1k")
        counts = {"train": 700, "val": 100, "test": 200}
        card = ModelCard(task, settings, {}, weights, origin.to_dict(), counts)
        write_model(folder, card)
        if name == "toy":
            self.card = card
        return card

    def say(self, name, task, samples):
        """Let another model predict every galaxy; give its digest."""
        card = self.write_model(task, name, name.ljust(64, "0"))
        self.said[name] = self.root / "predictions" / name
        for part in read_partitions(self.partitions):
            ids = pq.read_table(self.path("tiles", part.part))["object_id"].to_pylist()
            inputs = {"images": read_record(self.path("images", part.part)).digest}
            parameters = {"unfit": list(flags.UNFIT), "samples": samples}
            origin = Origin("predict", parameters, {**inputs, "model": card.digest}, DOMAIN)
            table = draw_predictions(task, samples, ids)
            write_product(self.said[name] / f"{part.part}.parquet", table, origin, table.schema)
        return card.digest

    def evaluate(self, name, figures, model=None, posterior=None):
        """Write the metrics of a model as if it had been evaluated."""
        path = self.root / "evaluations" / name / "metrics.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        origin = {
            "inputs": {"model": model or self.card.digest},
            "parameters": {"posterior": posterior or {}, "split": "test"},
        }
        path.write_text(json.dumps({**figures, "origin": origin}))
        return path

    def add(self, objects, per_partition=80):
        path = self.catalog / "objects.parquet"
        if path.exists():
            objects = pa.concat_tables([pq.read_table(path), objects]).sort_by("_healpix_29")
        write_product(path, objects, Origin("ingest"), objects.schema)
        partition(path, self.partitions, per_partition)
        for part in read_partitions(self.partitions):
            self.make(part.part)

    def path(self, folder, part):
        return self.folders[folder] / f"{part}.parquet"

    def make(self, part):
        """Write the cutouts, images and predictions of one partition."""
        ids = pq.read_table(self.path("tiles", part))["object_id"].to_pylist()
        self.write(
            "cutouts", part, pa.Table.from_pylist([cutout(i) for i in ids], products.CUTOUTS)
        )
        self.write("images", part, pa.Table.from_pylist([image(i) for i in ids], products.IMAGES))
        self.write("predictions", part, predictions(ids))

    def write(self, folder, part, table, model=None, domain=DOMAIN, **inputs):
        stage, source = {
            "cutouts": ("fetch", "tiles"),
            "images": ("render", "cutouts"),
            "predictions": ("predict", "images"),
        }[folder]
        role = "tile" if source == "tiles" else source
        found = {role: read_record(self.path(source, part)).digest}
        if folder == "predictions":
            found["model"] = model or self.card.digest
        parameters = {"unfit": list(flags.UNFIT)} if folder == "predictions" else {}
        origin = Origin(stage, parameters, found | inputs, {} if folder == "cutouts" else domain)
        write_product(self.path(folder, part), table, origin, table.schema)

    def release(self, out=None, metrics=(), **settings):
        out = out or self.root / "releases" / "dr1" / "SHA256SUMS"
        settings = {"galaxies_per_tile": 150, "date": "2026-01-01", **settings}
        request = Request(
            name="toy_dr1",
            partitions=self.partitions,
            objects=self.catalog / "objects.parquet",
            **{**self.folders, "predictions": (self.folders["predictions"], *self.said.values())},
            models=(self.model, *(self.root / "models" / n / "model.yaml" for n in self.said)),
            metrics=tuple(metrics),
            out=out,
            settings=ReleaseSettings(**settings),
        )
        merge_release(request)
        return out.parent


def number(object_id):
    return int(object_id[1:])


def is_unfit(object_id):
    return number(object_id) % UNFIT_EVERY == 0


def cutout(object_id):
    payload = np.random.default_rng(number(object_id)).bytes(PAYLOAD_BYTES)
    status = "no_coverage" if is_unfit(object_id) else "ok"
    return {"object_id": object_id, "status": status, "payload": payload}


def image(object_id):
    payload = np.random.default_rng(number(object_id)).bytes(PAYLOAD_BYTES)
    if is_unfit(object_id):
        return {"object_id": object_id, "image": None, "flags": flags.BITS["no_coverage"]}
    picture = {"bytes": payload, "path": None}
    return {"object_id": object_id, "image": picture, "flags": 0, "bad_pixel_fraction": 0.01}


def predictions(ids, shifted=False):
    schema = products.predictions(TASK, SAMPLES)
    return pa.Table.from_pylist([prediction(object_id, shifted) for object_id in ids], schema)


def prediction(object_id, shifted):
    bits = flags.BITS["domain_shift"] if shifted else 0
    if is_unfit(object_id):
        return {"object_id": object_id, "flags": flags.BITS["no_coverage"] | bits}
    return predicted(object_id, bits, np.random.default_rng(number(object_id)))


def predicted(object_id, bits, generator, change=lambda means: means):
    """Row of a galaxy whose fractions are drawn; ``change`` may round those of a question."""
    alpha = generator.uniform(1, 100, (SAMPLES, len(TREE.columns))).astype(np.float32)
    row = {"object_id": object_id, "flags": bits, "concentrations": alpha.ravel().tolist()}
    asked = {}
    for question in TREE.questions:
        own = alpha[:, question.slice]
        means = change((own / own.sum(axis=1, keepdims=True)).mean(axis=0))
        asked |= dict(zip(question.columns, means, strict=True))
        for column, mean in zip(question.columns, means, strict=True):
            row[f"{column}_fraction"] = float(mean)
            row[f"{column}_90pc-lower"] = float(mean) / 2
            row[f"{column}_90pc-upper"] = (1 + float(mean)) / 2
        parents = [asked[column] for column in question.asked_after]
        row[f"{question.name}_proportion-asked"] = float(sum(parents)) if parents else 1.0
        row[f"{question.name}_entropy"] = 0.5
        row[f"{question.name}_mutual-information"] = 0.1
    return row


def draw_predictions(task, samples, ids):
    """Draw posteriors of any task, and sum them up as predict does."""
    rng, width = np.random.default_rng(len(ids)), task.sample_width()[0]
    drawn = rng.uniform(1, 100, (len(ids), samples, width))
    if task.kind == "class":
        drawn /= drawn.sum(axis=2, keepdims=True)
    drawn = drawn.astype(np.float32)
    values = {**task.summarise(drawn), task.sample_column: drawn.reshape(len(ids), -1).tolist()}
    rows = []
    for row, object_id in enumerate(ids):
        own = {"object_id": object_id, "flags": flags.BITS["no_coverage"]}
        if not is_unfit(object_id):
            own |= {"flags": 0, **{name: column[row] for name, column in values.items()}}
        rows.append(own)
    return pa.Table.from_pylist(rows, products.predictions(task, samples))
