"""Two small files by which Snakemake decides when to train again, instead of by all images.

The list changes when galaxies are added, which retrains nothing; the description changes with the
recipe, which does.
"""

import csv
import io
import json
from pathlib import Path

from galaxymill.catalog.partition import read_partitions
from galaxymill.storage.atomic import atomic_file, exclusive
from galaxymill.storage.origin import read_record


def list_images(partitions: Path, folder: Path, out: Path) -> None:
    """List the images products of a survey as CSV with the columns part, n_rows, digest.

    ``folder`` holds ``{part}.parquet`` for each row of ``partitions``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("part", "n_rows", "digest"))
    for partition in read_partitions(partitions):
        record = read_record(folder / f"{partition.part}.parquet")
        writer.writerow((partition.part, record.rows, record.digest))
    _write(out, text.getvalue())


def describe_images(out: Path, survey: str, cutouts: str, images: str, versions: str) -> None:
    """Write how a survey's images are made, as JSON.

    ``cutouts`` and ``images`` are service and recipe with their settings, as spelled for the
    command line; ``versions`` are of the stages.
    """
    plain = {"survey": survey, "cutouts": cutouts, "images": images, "versions": versions}
    _write(out, json.dumps(plain, indent=1) + "\n")


def _write(out: Path, text: str) -> None:
    with exclusive(out), atomic_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
