"""Every path of the workflow, once.

Snakemake knows these templates as pathvars: a rule writes ``<cutouts>/{part}.parquet``.
"""

PATHVARS = {
    "downloads": "<results>/downloads",
    "simulation": "<results>/simulations/{simulation}",
    "survey": "<results>/surveys/{survey}",
    "catalog": "<survey>/catalog",
    "tiles": "<catalog>/tiles",
    "cutouts": "<survey>/cutouts",
    "images": "<survey>/images",
    "labels": "<results>/labels/{labels}",
    "model": "<results>/models/{model}",
    "evaluation": "<results>/evaluations/{model}",
    "predictions": "<results>/predictions/{survey}/{model}",
    "embeddings": "<results>/embeddings/{survey}/{model}",
    "run": "<results>/runs/{release}",
    "release": "<results>/releases/{release}",
    "logs": "<results>/logs",
    "benchmarks": "<results>/benchmarks",
}
