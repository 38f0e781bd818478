"""Names of partitions, read without any heavy import, for the Snakefile."""

import csv
from pathlib import Path


def part_names(partitions: Path | str) -> list[str]:
    """List the names in ``partitions.csv``, in the catalogue's order."""
    with open(partitions, newline="", encoding="utf-8") as file:
        return [row["part"] for row in csv.DictReader(file)]
