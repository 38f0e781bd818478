"""Every path of the workflow, once.

Snakemake knows these templates as pathvars: a rule writes ``<cutouts>/{part}.parquet``.
"""

import re
from pathlib import Path

_PACKAGED = Path(__file__).resolve().with_name("_workflow")
WORKFLOW = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).resolve().parents[2]
"""Folder of the Snakefile: in the package where it was installed, else the checkout."""

CONFIG = Path("galaxymill.yaml")
"""The config that commands take when none is named, in the folder where they are called."""

TREES = WORKFLOW / "config" / "trees"
"""The trees known by name."""

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
    "evaluation": "<results>/evaluations/{evaluation}",
    "predictions": "<results>/predictions/{prediction}",
    "embeddings": "<results>/embeddings/{prediction}",
    "space": "<results>/spaces/{space}",
    "features": "<results>/features/{space}",
    "maps": "<results>/maps/{space}",
    "search": "<results>/searches/{search}",
    "interest": "<results>/interests/{interest}",
    "rated": "<results>/rated/{interest}",
    "interesting": "<results>/interesting/{interest}",
    "detectability": "<results>/detectability/{detectability}",
    "run": "<results>/runs/{release}",
    "release": "<results>/releases/{release}",
    "slices": "<results>/slices/{explorer}",
    "explorer": "<results>/explorers/{explorer}",
    "round": "<results>/rounds/{round}",
    "logs": "<results>/logs",
    "benchmarks": "<results>/benchmarks",
}


def fill(template: str, results: Path, **names: str) -> Path:
    """Fill a template such as ``<cutouts>/{part}.parquet`` outside Snakemake.

    ``results`` is the folder that ``<results>`` stands for; ``names`` are the values of wildcards.
    """
    while pathvar := re.search(r"<(\w+)>", template):
        value = PATHVARS.get(pathvar[1], f"{{{pathvar[1]}}}")
        template = template.replace(pathvar[0], value)
    return Path(template.format(results=results, **names))
