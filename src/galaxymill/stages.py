"""The stages: name, version, source and product of each; their jobs' needs are in ``needs.py``.

Snakemake cannot see the package's code change; a stage's version stands for it in the rule's
params. Raise it when the stage's output would differ for the same input and parameters.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    name : str
        As in ``galaxymill.storage.origin.Origin``, and of the folders of its logs and benchmarks.
    version : int
    entry_modules : tuple of str
        The modules that its commands call, within the package; what they import, and so on, is its
        source.
    product : str
        Template of the file that it makes last, see `galaxymill.paths`.
    benchmarks : str
        Pattern of Snakemake's benchmarks of it, in the folder of its name.
    role : str
        What later stages call its product among their inputs; empty where none is merged.
    """

    name: str
    version: int
    entry_modules: tuple[str, ...]
    product: str
    benchmarks: str
    role: str = ""


_ALL = (
    Stage("download", 1, ("downloads.download",), "<downloads>/{file}", "*.tsv"),
    Stage("simulate", 1, ("simulation.stage",), "<simulation>/catalog.parquet", "*.tsv"),
    Stage("ingest", 2, ("catalog.ingest",), "<catalog>/objects.parquet", "{survey}.tsv"),
    Stage(
        "partition", 2, ("catalog.partition",), "<catalog>/partitions.csv", "{survey}.tsv", "tile"
    ),
    Stage("plan", 2, ("planning.plan",), "<catalog>/plan.txt", "{survey}.tsv"),
    Stage(
        "fetch",
        5,
        ("surveys.fetch", "surveys.retry"),
        "<cutouts>/{part}.parquet",
        "{survey}/*.tsv",
        "cutouts",
    ),
    Stage(
        "render",
        5,
        ("images.render", "images.index"),
        "<images>/{part}.parquet",
        "{survey}/*.tsv",
        "images",
    ),
    Stage("labels", 6, ("labels.collect", "labels.images"), "<labels>/votes.parquet", "*.tsv"),
    Stage("volunteers", 1, ("volunteers.fit",), "<labels>/individual.parquet", "{labels}.tsv"),
    Stage("train", 6, ("training.train", "models.alone"), "<model>/model.yaml", "{model}.tsv"),
    Stage("evaluate", 6, ("evaluation.evaluate",), "<evaluation>/metrics.json", "{evaluation}.tsv"),
    Stage(
        "predict",
        5,
        ("inference.predict",),
        "<predictions>/{part}.parquet",
        "{prediction}/*.tsv",
        "predictions",
    ),
    Stage("space", 1, ("spaces.fit",), "<space>/space.yaml", "{space}.tsv"),
    Stage(
        "project",
        2,
        ("spaces.project",),
        "<features>/{part}.parquet",
        "{space}/*.tsv",
        "features",
    ),
    Stage("map", 1, ("spaces.report",), "<maps>/report.html", "{space}.tsv"),
    Stage("similar", 1, ("search.search",), "<search>/nearest.csv", "{search}.tsv"),
    Stage("probe", 1, ("probes.fit",), "<model>/model.yaml", "{model}.tsv"),
    Stage("apply", 1, ("probes.predict",), "<predictions>/{part}.parquet", "{prediction}/*.tsv"),
    Stage("interest", 1, ("interest.fit",), "<interest>/interest.yaml", "{interest}.tsv"),
    Stage("rate", 2, ("interest.rate",), "<rated>/{part}.parquet", "{interest}/*.tsv", "rated"),
    Stage("interesting", 1, ("interest.report",), "<interesting>/report.html", "{interest}.tsv"),
    Stage(
        "detectability",
        1,
        ("detectability.fit",),
        "<detectability>/detectability.parquet",
        "{detectability}.tsv",
    ),
    Stage("release", 9, ("release.merge",), "<release>/SHA256SUMS", "{release}.tsv"),
    Stage("explore", 2, ("explorer.slices",), "<slices>/{part}.parquet", "{explorer}/*.tsv"),
    Stage("explorer", 4, ("explorer.build",), "<explorer>/index.html", "{explorer}.tsv"),
    Stage("choose", 1, ("rounds.choose",), "<round>/{number}/subjects.parquet", "{asked}.tsv"),
    Stage("history", 1, ("rounds.history",), "<round>/history/report.html", "{round}.tsv"),
    Stage("judge", 1, ("rounds.judge",), "<round>/{number}/model.yaml", "{round}/*.tsv"),
    Stage(
        "write_subjects",
        1,
        ("rounds.upload.subjects",),
        "<round>/{number}/upload/manifest.csv",
        "{round}/*.tsv",
    ),
)

STAGES = {stage.name: stage for stage in _ALL}
STAGE_VERSIONS = {stage.name: stage.version for stage in _ALL}
