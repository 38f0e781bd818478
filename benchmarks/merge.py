"""Galaxies a second that `galaxymill release` merges, and its peak memory: synthetic predictions.

Whole processes as the workflow runs them, from the partitions of four products to a release with
all its tables and documents; 34 answers with intervals, without samples. Galaxies lie evenly over
a third of the sky, as in a wide survey.
"""

import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from figures import SHORT, figure
from processes import apart, measure

from galaxymill import flags, products
from galaxymill.catalog.partition import Partition, partition, read_partitions
from galaxymill.models.settings import TrainSettings
from galaxymill.models.store import ModelCard, write_model
from galaxymill.sky.healpix import INDEX_ORDER, healpix_pixels
from galaxymill.storage.columns import field
from galaxymill.storage.digest import sha256_file
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product
from galaxymill.tasks import VoteTask
from galaxymill.trees.tree import load_tree

FEW, MANY, PER_PARTITION, PER_TILE = (
    (600, 3000, 100, 400) if SHORT else (10**6, 10**7, 4000, 400_000)
)
TREE = load_tree(Path(__file__).resolve().parents[1] / "config" / "trees" / "decals_dr5.yaml")
TASK = VoteTask(TREE)
DOMAIN = {"survey": "bench", "recipe": "decals", "render_version": 1}
CARD = ModelCard(
    TASK,
    TrainSettings(encoder="resnet18"),
    {},
    "w" * 64,
    Origin("train", domain=DOMAIN).to_dict(),
    {"train": 1},
)
"""Of a model that nobody has trained."""


def write_survey(folder: Path, count: int, picture: bytes = b"") -> None:
    """Write the products of a survey of so many galaxies, perhaps all with one picture."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-0.1, 0.55, count)))
    values = {
        "object_id": [f"{number // 1000}_{number % 1000:03d}" for number in range(count)],
        "ra": ra,
        "dec": dec,
        "_healpix_29": healpix_pixels(ra, dec, INDEX_ORDER),
        "mag_r": rng.uniform(14, 20, count).astype(np.float32),
    }
    kept = field("mag_r", pa.float32(), "apparent magnitude", "mag")
    schema = products.objects((), [kept])
    objects = pa.table([values[name] for name in schema.names], schema).sort_by("_healpix_29")
    path = folder / "catalog" / "objects.parquet"
    write_product(path, objects, Origin("ingest"), schema)
    partition(path, folder / "catalog" / "partitions.csv", PER_PARTITION)
    for part in read_partitions(folder / "catalog" / "partitions.csv"):
        write_part(folder, part, rng, picture)
    write_model(folder, CARD)


def write_part(folder: Path, part: Partition, rng: np.random.Generator, picture: bytes) -> None:
    """Write the cutouts, images and predictions of a partition."""
    tile = folder / "catalog" / "tiles" / f"{part.part}.parquet"
    ids = pa.parquet.read_table(tile, columns=["object_id"])["object_id"]
    n, source = part.n_rows, read_record(tile).digest
    given = {"object_id": ids, "status": ["ok"] * n, "flags": np.zeros(n, np.int32)}
    inputs = {"cutouts": "tile", "images": "cutouts", "predictions": "images"}
    stages = {"cutouts": "fetch", "images": "render", "predictions": "predict"}
    for role, schema in {
        "cutouts": products.CUTOUTS,
        "images": products.IMAGES,
        "predictions": products.predictions(TASK, 0),
    }.items():
        known = given | (predicted(n, rng) if role == "predictions" else {})
        if picture and role == "images":
            known["image"] = [{"bytes": picture, "path": None}] * n
        columns = [
            known[field.name] if field.name in known else pa.nulls(n, field.type)
            for field in schema
        ]
        more = {"model": CARD.digest} if role == "predictions" else {}
        unfit = {"unfit": list(flags.UNFIT)} if role == "predictions" else {}
        domain = {} if role == "cutouts" else DOMAIN
        origin = Origin(stages[role], unfit, {inputs[role]: source} | more, domain)
        path = folder / role / f"{part.part}.parquet"
        write_product(path, pa.table(columns, schema=schema), origin, schema)
        source = read_record(path).digest


def predicted(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw all summary columns."""
    values = {}
    for question in TREE.questions:
        shares = rng.dirichlet(np.ones(len(question.answers)), n).astype(np.float32)
        for column, share in zip(question.columns, shares.T, strict=True):
            values[f"{column}_fraction"] = share
            values[f"{column}_90pc-lower"] = share * np.float32(0.7)
            values[f"{column}_90pc-upper"] = 1 - (1 - share) * np.float32(0.7)
        for what in ("proportion-asked", "entropy", "mutual-information"):
            values[f"{question.name}_{what}"] = rng.random(n, np.float32)
    return values


def merge(folder: Path) -> tuple[float, float]:
    """Release; seconds and peak memory in MB."""
    program = Path(sys.executable).with_name("galaxymill")
    words: list[object] = [program, "release", folder / "catalog" / "partitions.csv"]
    words += [folder / "release" / "SHA256SUMS", "--name", "bench"]
    words += ["--model", folder / "model.yaml", "--set", f"galaxies_per_tile={PER_TILE}"]
    for role in ("cutouts", "images", "predictions"):
        words += [f"--{role}", folder / role]
    run = measure(words)
    return run.seconds, run.peak_mb


def copy_bare(folder: Path) -> None:
    """Do what no merge can do without: read the predictions, write the tables, hash the files.

    Nothing is checked, joined, sorted, described or counted.
    """
    out = folder / "copy"
    out.mkdir()
    files = sorted((folder / "predictions").glob("*.parquet"))
    schema = pa.parquet.read_schema(files[0])
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    friendly = pa.schema([schema.field(name) for name in schema.names if "_fraction" in name])
    settings = {"compression": "snappy", "use_dictionary": False, "write_statistics": floats}
    settings["column_encoding"] = dict.fromkeys(floats, "BYTE_STREAM_SPLIT")
    few = {**settings, "column_encoding": dict.fromkeys(friendly.names, "BYTE_STREAM_SPLIT")}
    few["write_statistics"] = friendly.names
    with (
        ThreadPoolExecutor(2) as pool,
        pa.parquet.ParquetWriter(out / "advanced.parquet", schema, **settings) as advanced,
        pa.parquet.ParquetWriter(out / "friendly.parquet", friendly, **few) as masked,
        (out / "catalog.fits").open("wb") as fits,
    ):
        for start in range(0, len(files), 50):
            read = pool.map(pa.parquet.read_table, files[start : start + 50])
            rows = pa.concat_tables(read).combine_chunks()
            hats = out / f"Npix={start}.parquet"
            tasks = [
                pool.submit(advanced.write_table, rows),
                pool.submit(pa.parquet.write_table, rows, hats, **settings),
                pool.submit(masked.write_table, rows.select(friendly.names)),
                pool.submit(write_records, fits, rows, floats),
            ]
            for task in tasks:
                task.result()
        list(pool.map(sha256_file, out.iterdir()))


def write_records(file: BinaryIO, rows: pa.Table, names: list[str]) -> None:
    """Write numbers row by row, big-endian, as FITS has them."""
    columns = [rows[name].to_numpy() for name in names]
    records = np.empty((2048, len(names)), ">f4")
    for start in range(0, rows.num_rows, len(records)):
        count = min(len(records), rows.num_rows - start)
        for place, column in enumerate(columns):
            records[:count, place] = column[start : start + count]
        file.write(records[:count].data)


def copy(folder: Path) -> float:
    """Seconds of `copy_bare` in a process of its own."""
    start = time.monotonic()
    apart(copy_bare, folder)
    return time.monotonic() - start


def main() -> None:
    """Measure."""
    rates = []
    for count in (FEW, MANY):
        with tempfile.TemporaryDirectory() as temporary:
            apart(write_survey, Path(temporary), count)
            seconds, peak = merge(Path(temporary))
            shutil.rmtree(Path(temporary) / "release")
            bare = copy(Path(temporary))
        rates.append(count / seconds)
        figure(f"merge_{count}", rates[-1], "galaxies/s", at_least=250_000)
        figure(f"merge_{count}_peak_memory", peak, "MB", at_most=2000)
        figure(f"merge_{count}_bare_copy", count / bare, "galaxies/s")
    figure("merge_cost_of_ten_times", rates[0] / rates[1], "times per row", at_most=1.1)


if __name__ == "__main__":
    main()
