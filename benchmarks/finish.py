"""Pretend that a workflow has run: products without rows, logs, Snakemake's own records of each.

Called as Snakemake is. Running thirty thousand jobs for the sake of their records would take hours.
"""

import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from snakemake.cli import main
from snakemake.jobs import Job

from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

# After cli: alone, snakemake.workflow runs into a circle of imports.
from snakemake import workflow  # isort: skip


def _products() -> dict[str, bytes]:
    """Make a file of images and one of their predictions: their footers say whose they are."""
    rows, domain = pa.table({"object_id": pa.array([], pa.string())}), {"survey": "big"}
    with tempfile.TemporaryDirectory() as folder:
        images, predictions = (Path(folder, name) for name in ("images", "predictions"))
        write_product(images, rows, Origin("render", domain=domain), rows.schema)
        inputs = {"images": read_record(images).digest}
        write_product(predictions, rows, Origin("predict", {}, inputs, domain), rows.schema)
        return {
            "render_images": images.read_bytes(),
            "predict_partition": predictions.read_bytes(),
        }


class Finished:
    """Stands in Snakemake's scheduler's place: every job has just ended well."""

    def __init__(self, flow: workflow.Workflow, *_: object) -> None:
        self._flow, self._contents = flow, _products()

    def schedule(self) -> bool:
        """Make the outputs of every job, those of its inputs first."""
        self._flow.async_run(self._finish())
        return True

    async def _finish(self) -> None:
        for level in self._flow.dag.toposorted():
            for job in level:
                for file in job.output:
                    Path(file).parent.mkdir(parents=True, exist_ok=True)
                    if content := self._contents.get(job.rule.name):
                        Path(file).write_bytes(content)
                    # What is there keeps what it holds: the checkpoint's table, above all.
                    Path(file).touch()
                _tell(job)
                await self._flow.persistence.finished(job)


def _tell(job: Job) -> None:
    """Write the log and the benchmark of a job of a minute, in which nothing failed."""
    stage, part = job.rule.name.split("_")[0], job.wildcards.get("part")
    for file in job.log:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        told = "flags: none" if stage == "render" else "1000 ok"
        Path(file).write_text(f"12:00:00 {stage} {part}: {told}\n")
    if job.benchmark:
        Path(job.benchmark).parent.mkdir(parents=True, exist_ok=True)
        Path(job.benchmark).write_text("s\th:m:s\n60.0\t0:01:00\n")


workflow.JobScheduler = Finished
main(sys.argv[1:])
