"""The stages and their versions.

Snakemake cannot see the package's code change; a stage's version stands for it in the rule's
params. Raise it when the stage's output would differ for the same input and parameters.
"""

STAGE_VERSIONS = {
    "download": 1,
    "simulate": 1,
    "ingest": 2,
    "partition": 2,
    "fetch": 4,
    "render": 4,
    "labels": 5,
    "train": 4,
    "evaluate": 4,
    "predict": 3,
    "release": 5,
}
