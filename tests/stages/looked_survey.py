"""A survey whose release is looked at: names that nobody would choose, pictures, features."""

import io
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from made_survey import DOMAIN, SAMPLES, Survey, draw_objects, predicted
from PIL import Image

from galaxymill import flags, products
from galaxymill.catalog.partition import read_partitions
from galaxymill.explorer.build import BuildRequest, build_explorer
from galaxymill.explorer.settings import ExplorerSettings
from galaxymill.explorer.slices import SliceRequest, explore_partition
from galaxymill.release.settings import ReleaseSettings
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

HOSTILE = (
    "=1+1",
    "+cmd",
    "-2+3",
    "@SUM(A1)",
    "-17",
    'say "no", twice',
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "two\nlines",
    "tab\there",
    "galaxie née à 赤経 \u2028 𝛼",
    "'quoted'",
    "..\\..\\up",
)
WIDTH, MAPS = 24, ("all", "disks")

SELECTIONS = {
    "barred": {
        "description": "barred",
        "source": "nobody",
        "cuts": [{"column": "bar_yes_fraction", "at_least": 0.61}],
    }
}


def seed(object_id):
    return np.random.default_rng(zlib.crc32(object_id.encode()))


def is_unfit(object_id):
    return zlib.crc32(object_id.encode()) % 17 == 0


class LookedSurvey(Survey):
    """Galaxies with hostile names, a column of one value and one of none."""

    unfit = staticmethod(is_unfit)

    @staticmethod
    def vector(one):
        """Features of a galaxy."""
        return seed(one).normal(0, 1, WIDTH).astype("<f2") * KINDS[kind(one)]

    @property
    def features(self):
        return self.root / "features" / "toy"

    def add_galaxies(self, count, per_partition=300):
        objects = draw_objects(0, count, 180.0, 10.0).to_pydict()
        objects["object_id"][: len(HOSTILE)] = HOSTILE[:count]
        del objects["file_loc"]
        kept = {"mag_r": "r band", "same": "always 3", "nothing": "never known", "whole": "counted"}
        kinds = (pa.float32(), pa.float64(), pa.float64(), pa.int64())
        fields = [
            pa.field(name, kind, metadata={"description": text})
            for (name, text), kind in zip(kept.items(), kinds, strict=True)
        ]
        objects |= {"same": [3.0] * count, "nothing": [None] * count}
        objects["whole"] = [None if n % 9 == 0 else n * n for n in range(count)]
        schema = products.objects(["petro_r50"], fields)
        # Null is how the catalogue says that a number is not known.
        objects["petro_r50"] = [None if r != r else r for r in objects["petro_r50"]]
        self.add(pa.table(objects, schema=schema).sort_by("_healpix_29"), per_partition)

    def make(self, part):
        ids = pq.read_table(self.path("tiles", part))["object_id"].to_pylist()
        bad = [self.unfit(one) for one in ids]
        cutouts = [
            {"object_id": one, "status": "no_coverage" if gone else "ok", "payload": b"x"}
            for one, gone in zip(ids, bad, strict=True)
        ]
        self.write("cutouts", part, pa.Table.from_pylist(cutouts, products.CUTOUTS))
        images = [image(one, gone) for one, gone in zip(ids, bad, strict=True)]
        self.write("images", part, pa.Table.from_pylist(images, products.IMAGES))
        rows = [prediction(one, gone) for one, gone in zip(ids, bad, strict=True)]
        schema = products.predictions(self.card.task, SAMPLES)
        self.write("predictions", part, pa.Table.from_pylist(rows, schema))
        self.project(part, ids, bad)

    def project(self, part, ids, bad, space="s" * 64):
        made_from = ("predictions", "images")
        inputs = {role: read_record(self.path(role, part)).digest for role in made_from}
        inputs["space"] = space
        schema = products.features(WIDTH, MAPS)
        columns = {"object_id": ids, "flags": [0] * len(ids)}
        features = [self.vector(one) for one in ids]
        pairs = list(zip(features, bad, strict=True))
        columns["features"] = [None if gone else one.tobytes() for one, gone in pairs]
        for number, name in enumerate(MAPS):
            for axis, column in enumerate(products.map_columns(name)):
                places = [seed(one).uniform(0, 1, 4)[2 * number + axis] for one in ids]
                columns[column] = [None if b else p for p, b in zip(places, bad, strict=True)]
        origin = Origin("project", {}, inputs, DOMAIN)
        write_product(
            self.features / f"{part}.parquet", pa.table(columns, schema=schema), origin, schema
        )

    def slice_all(self, maps=True, **settings):
        for part in read_partitions(self.partitions):
            request = SliceRequest(
                part=part.part,
                partitions=self.partitions,
                objects=self.catalog / "objects.parquet",
                cutouts=self.folders["cutouts"],
                images=self.folders["images"],
                predictions=(self.folders["predictions"],),
                models=(self.model,),
                features=(),
                rated=(),
                shown=(self.root / "features" / "toy",) if maps else (),
                release=ReleaseSettings(selections=SELECTIONS),
                settings=ExplorerSettings(**settings),
            )
            explore_partition(request, self.root / "slices" / f"{part.part}.parquet")

    def build(self, metrics=(), name="explorer", **settings):
        out = self.root / name / "index.html"
        build_explorer(
            BuildRequest(
                release=self.root / "releases" / "dr1" / "SHA256SUMS",
                partitions=self.partitions,
                slices=self.root / "slices",
                models=(self.model,),
                metrics=tuple(metrics),
                out=out,
                settings=ExplorerSettings(**settings),
            )
        )
        return out.parent


KINDS = np.random.default_rng(3).uniform(0.2, 3, (4, WIDTH)).astype("<f2")


def kind(object_id):
    return zlib.crc32(object_id.encode()) % len(KINDS)


def image(object_id, unfit):
    if unfit:
        bits = flags.BITS["no_coverage"]
        return {"object_id": object_id, "image": None, "flags": bits}
    pixels = seed(object_id).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 96)).save(file, "JPEG")
    bits = flags.BITS["saturated"] if zlib.crc32(object_id.encode()) % 5 == 0 else 0
    picture = {"bytes": file.getvalue(), "path": None}
    measured = {"peak_snr": float(pixels[0, 0, 0])}
    return {"object_id": object_id, "image": picture, "flags": bits, **measured}


def prediction(object_id, unfit):
    if unfit:
        return {"object_id": object_id, "flags": flags.BITS["no_coverage"]}

    def rounded(shares):
        # Some are exactly a threshold: both ends of a range belong to it.
        shares = shares if zlib.crc32(object_id.encode()) % 3 else np.round(shares, 2)
        shares[-1] = 1 - shares[:-1].sum()
        return shares

    return predicted(object_id, 0, seed(object_id), rounded)
