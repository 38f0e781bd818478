"""A tiny survey with everything that the stages make of it, and a way to call any command on it."""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

from galaxymill.cli import main
from galaxymill.errors import UserError
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

N = 12
HUGE = ("0", "-1", "1", "1e-300", "1e300", "-1e300", "nan", "inf", str(2**64))
TEXTS = ("", " ", "x" * 300, "é ñ", "../x", "/", "a,b", "{tile}", "%s", "a:b", "x.yaml")
LISTS = ("", ",", "x", "g,r", "1", "0,0", "-1,1", "1e300,1e300", "2,1", "nan,1", "x" * 300)
JSON = ("", "{}", "[]", "null", "7", '{"ra": [null, 5]}', '{"x": [0, 1]}', '{"x": 1}', "[[[[", "{")
PATHS = ("/", "", "/nowhere/x", "x" * 300, "/dev/null")


def values(annotation: Any, metadata: Any) -> Iterator[str]:
    """Spell absurd values of a type, those at its bounds included."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from values(parts[0], [*metadata, *parts[1:]])
    elif origin in (Union, UnionType):
        for part in parts:
            yield from values(part, metadata)
    elif origin is Literal:
        yield from (str(part) for part in parts)
        yield "none of these"
    elif annotation is bool:
        yield from ("true", "false", "7")
    elif annotation in (int, float):
        for item in metadata:
            nested = getattr(item, "metadata", [item])
            for bound in nested:
                for name in ("ge", "gt", "le", "lt"):
                    limit = getattr(bound, name, None)
                    if limit is not None:
                        yield str(limit)
                        yield str(math.nextafter(limit, math.inf))
                        yield str(math.nextafter(limit, -math.inf))
        yield from HUGE
    elif annotation is Path:
        yield from PATHS
    elif annotation is str:
        yield from TEXTS
    elif origin is tuple:
        yield from LISTS
        yield from JSON
    elif origin is dict:
        yield from JSON


def absurd(model: Any) -> Iterator[str]:
    """Spell ``key=value`` for every setting of a class and every absurd value of it."""
    for name, info in model.model_fields.items():
        for value in dict.fromkeys(values(info.annotation, info.metadata)):
            yield f"{name}={value}"


def allowed(model: Any, given: dict[str, str], word: str) -> list[str] | None:
    """Give the words of settings that are allowed; None when they are refused in plain words."""
    key, _, value = word.partition("=")
    words = [f"{k}={v}" for k, v in {**given, key: value}.items()]
    try:
        model.from_flags(words, "test")
    except UserError:
        return None
    return words


def call(*words: Any) -> Exception | None:
    """Run the program in this process; give what it ended with that is no sentence for its user."""
    with patch("sys.argv", ["galaxymill", *map(str, words)]):
        try:
            main()
        except SystemExit as end:
            if end.code in (None, 0, 2):
                return None
            return RuntimeError(f"exit status {end.code}")
        except Exception as error:
            return error
    return None


def must(*words: Any) -> None:
    """Run a command that has to succeed."""
    with patch("sys.argv", ["galaxymill", *map(str, words)]), pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code, words


def sets(words: Any) -> list[str]:
    """Spell settings for the command line."""
    return [part for word in words for part in ("--set", word)]


TRAIN = {
    "encoder": "test_efficientnet_gn",
    "image_size": "32",
    "epochs": "1",
    "batch_size": "8",
    "device": "cpu",
    "precision": "fp32",
}
TREE = "name: toy\nquestions:\n  shape: {answers: [round, long]}\n"
DOMAIN = ["--survey", "toy", "--recipe", "passthrough"]


class Tiny:
    """All products of a survey of some galaxies, whose images are files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(1)
        rows = {
            "object_id": [],
            "ra": [],
            "dec": [],
            "file_loc": [],
            "mag": [],
            "z": [],
            "kind": [],
        }
        rows |= {"petro_r50": [], "petro_r90": [], "shape_round": [], "shape_long": []}
        (folder / "pics").mkdir(parents=True)
        for n in range(N):
            file = io.BytesIO()
            pixels = rng.integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(file, "PNG")
            (folder / "pics" / f"{n}.png").write_bytes(file.getvalue())
            values = [
                f"g{n}",
                150 + n / 10,
                2.0,
                f"{n}.png",
                17.5,
                n / 7,
                "ab"[n % 2],
                2,
                4,
                n,
                N - n,
            ]
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
        pq.write_table(pa.table(rows), folder / "catalog.parquet")
        (folder / "tree.yaml").write_text(TREE)
        self.make()

    def __getattr__(self, name: str) -> Path:
        return (
            self.folder
            / {
                "catalog": "catalog.parquet",
                "objects": "objects.parquet",
                "partitions": "partitions.csv",
                "cutouts": "cutouts/g0-k0-p6.parquet",
                "fluxes": "fluxes.parquet",
                "images": "images/g0-k0-p6.parquet",
                "predictions": "predictions/said/g0-k0-p6.parquet",
                "tile": "tiles/g0-k0-p6.parquet",
                "votes": "votes.parquet",
                "model": "models/m/model.yaml",
                "metrics": "evaluations/metrics.json",
                "tree": "tree.yaml",
                "release": "release/SHA256SUMS",
            }[name]
        )

    def make(self) -> None:
        must(*self.ingest(["file_loc=file_loc", "keep=mag"], self.objects))
        must("partition", self.objects, self.partitions)
        (part,) = [path.stem for path in (self.folder / "tiles").iterdir()]
        assert part == self.tile.stem, part
        must(*self.fetch("files", [f"folder={self.folder / 'pics'}", "size=32"], self.cutouts))
        self.draw_fluxes()
        must(*self.render("passthrough", ["size=32"], self.images))
        must(*self.labels("counts", [], self.votes))
        must(*self.train(TRAIN_WORDS, self.model))
        must(*self.evaluate([], self.metrics))
        must(*self.predict([], self.predictions))
        must(*self.merge([], self.release))

    def draw_fluxes(self) -> None:
        """Put FITS planes in the place of the pictures."""
        table, record = pq.read_table(self.cutouts), read_record(self.cutouts)
        planes = fits.PrimaryHDU(np.random.default_rng(2).normal(0, 1, (3, 32, 32)))
        planes.header["BANDS"] = "grz"
        file = io.BytesIO()
        planes.writeto(file)
        place = table.column_names.index("payload")
        payloads = pa.array([file.getvalue()] * len(table), table.schema.types[place])
        fluxes = table.set_column(place, table.schema.field(place), payloads)
        write_product(
            self.fluxes,
            fluxes,
            Origin("fetch", record.origin["parameters"], record.origin["inputs"]),
            table.schema,
        )

    def ingest(self, words: Any, out: Path) -> list[Any]:
        return ["ingest", self.catalog, out, *sets(words)]

    def fetch(self, service: str, words: Any, out: Path) -> list[Any]:
        limits = [
            "--network",
            "attempts=1",
            "--network",
            "stop_after=1",
            "--network",
            "timeout_s=1",
        ]
        return ["fetch", self.tile, out, "--service", service, *sets(words), *limits]

    def render(self, recipe: str, words: Any, out: Path) -> list[Any]:
        cutouts = self.cutouts if recipe == "passthrough" else self.fluxes
        return ["render", cutouts, out, "--survey", "toy", "--recipe", recipe, *sets(words)]

    def labels(self, kind: str, words: Any, out: Path, *options: str) -> list[Any]:
        tree = ["--tree", self.tree] if kind not in ("classes", "number") else []
        command = ["labels", out, self.catalog, "--format", kind, *tree, *sets(words)]
        return [
            *command,
            "--split",
            "train=0.5",
            "--split",
            "val=0.25",
            "--split",
            "test=0.25",
            *options,
        ]

    def train(self, words: Any, out: Path) -> list[Any]:
        return [
            "train",
            out,
            "--votes",
            self.votes,
            "--images",
            self.images,
            *sets(words),
            "--threads",
            1,
        ]

    def evaluate(self, options: Any, out: Path) -> list[Any]:
        inputs = ["--votes", self.votes, "--images", self.images, "--model", self.model]
        return ["evaluate", out, *inputs, "--catalog", self.objects, "--device", "cpu", *options]

    def predict(self, words: Any, out: Path) -> list[Any]:
        beside = ["--embeddings", out.with_suffix(".emb"), "--device", "cpu", "--precision", "fp32"]
        return [
            "predict",
            self.images,
            "--model",
            self.model,
            "--out",
            out,
            *beside,
            *sets(words),
            "--threads",
            1,
        ]

    def merge(self, words: Any, out: Path) -> list[Any]:
        folders = [
            part
            for name in ("cutouts", "images", "predictions")
            for part in (f"--{name}", getattr(self, name).parent)
        ]
        command = ["release", self.partitions, out, "--name", "r", *folders, "--model", self.model]
        return [*command, "--metrics", self.metrics, *sets(words), "--threads", 1]


TRAIN_WORDS = [f"{key}={value}" for key, value in TRAIN.items()]
