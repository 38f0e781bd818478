"""CPU seconds and memory of choosing the 5,000 galaxies of a round by their predictions.

Predictions are drawn at random: five samples of the 34 answers of DECaLS, seven in ten galaxies
smooth. Ten thousand galaxies have votes, five thousand were asked about before.

    make bench-choose
    python benchmarks/choose.py --galaxies 10000000
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from big_survey import write_objects
from figures import SHORT, figure
from merge import CARD, TASK, predicted
from processes import apart, measure

from galaxymill import products
from galaxymill.catalog.partition import partition, read_partitions
from galaxymill.models.store import write_model
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

SAMPLES, PER_PARTITION = 5, 500 if SHORT else 20_000
VOTED = 100 if SHORT else 10_000
FEATURED = "smooth-or-featured-dr5_featured-or-disk"


def options() -> argparse.Namespace:
    """Read the command line."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--galaxies", type=int, default=5000 if SHORT else 10**6)
    known.add_argument("--folder", help="where 0.7 GB a million galaxies fit")
    known.add_argument("--budget", type=int, default=200 if SHORT else 5000)
    return known.parse_args()


def write_survey(folder: Path, count: int) -> None:
    """Write a catalogue, and predictions of each partition."""
    objects = folder / "catalog" / "objects.parquet"
    write_objects(objects, count)
    partition(objects, objects.with_name("partitions.csv"), PER_PARTITION)
    schema = products.predictions(TASK, SAMPLES)
    rng = np.random.default_rng(1)
    drawn = draw(2 * PER_PARTITION, rng)
    for part in read_partitions(objects.with_name("partitions.csv")):
        tile = folder / "catalog" / "tiles" / f"{part.part}.parquet"
        ids = pq.read_table(tile, columns=["object_id"])["object_id"]
        rows = drawn.take(rng.integers(0, len(drawn), len(ids)))
        table = rows.set_column(0, schema.field("object_id"), ids)
        origin = Origin("predict", inputs={"model": CARD.digest})
        write_product(folder / "predictions" / f"{part.part}.parquet", table, origin, schema)


def draw(count: int, rng: np.random.Generator) -> pa.Table:
    """Draw predictions of some galaxies."""
    alpha = rng.gamma(1, 10, (count, SAMPLES, len(TASK.columns))).astype(np.float32) + 1
    place = TASK.columns.index(FEATURED)
    alpha[rng.uniform(size=count) < 0.7, :, place] = 1
    values = {name: pa.array(one) for name, one in predicted(count, rng).items()}
    values["object_id"] = pa.array([str(row) for row in range(count)])
    values["flags"] = pa.array(np.zeros(count, np.int32))
    schema = products.predictions(TASK, SAMPLES)
    width = schema.field(TASK.sample_column).type
    values[TASK.sample_column] = pa.FixedSizeListArray.from_arrays(alpha.ravel(), type=width)
    return pa.table([values[name] for name in schema.names], schema=schema)


def write_votes(path: Path, folder: Path) -> None:
    """Write labels of the first galaxies."""
    known = pq.read_table(
        folder / "catalog" / "objects.parquet", columns=["object_id", "ra", "dec"]
    )
    known = known.slice(0, VOTED)
    schema = products.votes(TASK, with_positions=True)
    ones = {field.name: np.ones(len(known), np.int32) for field in TASK.label_fields()}
    columns = {name: known[name] for name in known.column_names} | ones
    columns["split"] = ["train"] * len(known)
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    write_product(path, table, Origin("labels", {"task": TASK.to_dict()}), schema)


def make(folder: Path, count: int) -> None:
    """Make everything that a choice reads."""
    write_survey(folder, count)
    write_votes(folder / "votes.parquet", folder)
    write_model(folder, CARD)


def main() -> None:
    """Choose two rounds, and measure the second, as the workflow runs it."""
    chosen = options()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as temporary:
        folder = Path(temporary)
        apart(make, folder, chosen.galaxies)
        for number in (1, 2):
            words: list[object] = [Path(sys.executable).with_name("galaxymill"), "choose-subjects"]
            words += [folder / "catalog" / "partitions.csv", folder / "predictions"]
            words += [folder / str(number) / "subjects.parquet", "--model", folder / "model.yaml"]
            words += ["--votes", folder / "votes.parquet", "--number", number]
            words += ["--set", f"budget={chosen.budget}", "--set", f"featured={FEATURED}"]
            if number > 1:
                words += ["--before", folder / "1" / "subjects.parquet"]
            run = measure(words)
    at_most = 60 if chosen.galaxies >= 10**7 else None
    figure("choose_cpu", run.cpu_s, f"CPU_s_of_{chosen.galaxies}_galaxies", at_most=at_most)
    figure("choose_peak_memory", run.peak_mb, "MB", at_most=1000)


if __name__ == "__main__":
    main()
