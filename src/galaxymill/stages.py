"""The stages: all that is said of each, once.

Snakemake cannot see the package's code change; a stage's version stands for it in the rule's
params. Raise it when the stage's output would differ for the same input and parameters.
"""

from dataclasses import dataclass

from galaxymill.needs import Linear, Need


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    name : str
        As in ``galaxymill.storage.origin.Origin``, and of the folders of its logs.
    version : int
    entry_modules : tuple of str
        The modules that its commands call, within the package; what they import, and so on, is its
        source.
    product : str
        Template of the file that it makes last, see `galaxymill.paths`.
    benchmarks : str
        Pattern of Snakemake's benchmarks of it, below their folder.
    need : Need or None
        What its job asks for; None where settings tell more, see `galaxymill.needs`.
    role : str
        What later stages call its product among their inputs; empty where none is merged.
    """

    name: str
    version: int
    entry_modules: tuple[str, ...]
    product: str
    benchmarks: str
    need: Need | None = None
    role: str = ""


_ALL = (
    Stage(
        "download",
        1,
        ("downloads.download",),
        "<downloads>/{file}",
        "download/*.tsv",
        Need(Linear(600), Linear(480)),
    ),
    Stage(
        "simulate",
        1,
        ("simulation.stage",),
        "<simulation>/catalog.parquet",
        "simulate/*.tsv",
        Need(Linear(1600, per_thousand=1), Linear(10, per_thousand=1)),
    ),
    Stage(
        "ingest",
        2,
        ("catalog.ingest",),
        "<catalog>/objects.parquet",
        "ingest/{survey}.tsv",
        Need(Linear(1600, per_mb=4), Linear(15, per_mb=0.05)),
    ),
    Stage(
        "partition",
        2,
        ("catalog.partition",),
        "<catalog>/partitions.csv",
        "partition/{survey}.tsv",
        Need(Linear(1600, per_mb=4), Linear(15, per_mb=0.05)),
        role="tile",
    ),
    Stage(
        "plan",
        1,
        ("planning.plan",),
        "<catalog>/plan.txt",
        "plan/{survey}.tsv",
        Need(Linear(600), Linear(10)),
    ),
    Stage(
        "fetch",
        5,
        ("surveys.fetch", "surveys.retry"),
        "<cutouts>/{part}.parquet",
        "fetch/{survey}/*.tsv",
        role="cutouts",
    ),
    Stage(
        "render",
        4,
        ("images.render", "images.index"),
        "<images>/{part}.parquet",
        "render/{survey}/*.tsv",
        Need(Linear(700, per_mb=0.1), Linear(15, per_thousand=5)),
        role="images",
    ),
    Stage(
        "labels",
        5,
        ("labels.collect", "labels.images"),
        "<labels>/votes.parquet",
        "labels/*.tsv",
        Need(Linear(1600, per_mb=6), Linear(30, per_mb=0.1)),
    ),
    Stage("train", 5, ("training.train",), "<model>/model.yaml", "train/{model}.tsv"),
    Stage(
        "evaluate",
        4,
        ("evaluation.evaluate",),
        "<evaluation>/metrics.json",
        "evaluate/{evaluation}.tsv",
        Need(Linear(3600), Linear(60, per_thousand=1)),
    ),
    Stage(
        "predict",
        3,
        ("inference.predict",),
        "<predictions>/{part}.parquet",
        "predict/{prediction}/*.tsv",
        Need(Linear(3600, per_mb=0.1), Linear(15, per_thousand=15)),
        role="predictions",
    ),
    Stage(
        "release",
        6,
        ("release.merge",),
        "<release>/SHA256SUMS",
        "release/{release}.tsv",
        Need(Linear(2600, per_thousand=0.2), Linear(30, per_thousand=0.1)),
    ),
)

STAGES = {stage.name: stage for stage in _ALL}
STAGE_VERSIONS = {stage.name: stage.version for stage in _ALL}
NEEDS = {stage.name: stage.need for stage in _ALL if stage.need is not None}
