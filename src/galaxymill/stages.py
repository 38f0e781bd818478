"""The stages and their versions.

Snakemake cannot see the package's code change; a stage's version stands for it in the rule's
params. Raise it when the stage's output would differ for the same input and parameters.
"""

STAGE_VERSIONS = {
    "download": 1,
    "simulate": 1,
    "ingest": 1,
    "partition": 2,
    "fetch": 3,
    "render": 3,
    "labels": 4,
    "train": 3,
    "evaluate": 2,
    "predict": 2,
    "release": 4,
}
