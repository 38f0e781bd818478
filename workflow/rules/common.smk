"""The config, checked, and the only helpers of the rules."""

import os
import re
import shlex
import sys
from pathlib import Path

from galaxymill.catalog.names import part_names
from galaxymill.config import load_config
from galaxymill.errors import UserError
from galaxymill.paths import PATHVARS
from galaxymill.stages import STAGE_VERSIONS


pathvars:
    **PATHVARS,


wildcard_constraints:
    simulation=r"[\w-]+",
    survey=r"[\w-]+",
    labels=r"[\w-]+",
    model=r"[\w-]+",
    release=r"[\w-]+",
    part=r"g\d+-k\d+-p\d+",


# Rules call the galaxymill of this environment, also when nobody has activated it.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

TREES = Path(workflow.basedir, "config", "trees")

try:
    CFG = load_config(config, ", ".join(map(str, workflow.configfiles)) or "config", TREES)
except UserError as error:
    print(f"galaxymill: {error}", file=sys.stderr)
    sys.exit(2)


def path(template, **wildcards):
    """Fill a path template of galaxymill.paths."""
    return workflow.pathvars.apply(template).format(**wildcards)


def paths(template, **wildcards):
    """Fill a template with each of the values of its one wildcard."""
    (name,) = wildcards
    return [path(template, **{name: value}) for value in wildcards[name]]


def tested(model):
    """Tell whether a model's labels keep galaxies for a test."""
    return CFG.labels[CFG.models[model].labels].splits.test > 0


RELEASES = paths("<release>/SHA256SUMS", release=CFG.releases)
EVALUATIONS = paths("<evaluation>/metrics.json", model=filter(tested, CFG.models))
IMAGES = paths("<survey>/images.csv", survey=CFG.surveys)
PLANS = paths("<catalog>/plan.txt", survey=CFG.surveys)

if not RELEASES and not EVALUATIONS:
    print(
        "galaxymill: no releases and no models in this config; try the target images",
        file=sys.stderr,
    )

# Slots a host, so that several jobs together never ask it faster than one may.
HOSTS = {host: f"host_{re.sub(r'[^a-z0-9]', '_', host.lower())}" for host in CFG.hosts()}
for host, jobs in CFG.hosts().items():
    workflow.register_resource(HOSTS[host], jobs)


def asks(host):
    """Make the resource function of one host: 1 for the surveys that ask it."""
    return lambda wildcards: int(CFG.surveys[wildcards.survey].cutouts.settings.host == host)


def every_part(template):
    """Make an input function: a release's file of each partition, once they are known."""

    def files(wildcards):
        chosen = CFG.releases[wildcards.release]
        checkpoints.partition_catalog.get(survey=chosen.survey)
        table = path("<catalog>/partitions.csv", survey=chosen.survey)
        known = {"survey": chosen.survey, "model": chosen.model}
        return [path(template, part=part, **known) for part in part_names(table)]

    return files


def release_metrics(wildcards):
    """Metrics of a release's model; none when its labels keep no test galaxies."""
    model = CFG.releases[wildcards.release].model
    return path("<evaluation>/metrics.json", model=model) if tested(model) else []


def release_folders(wildcards):
    """Spell the folders of a release's products for the command line."""
    chosen = CFG.releases[wildcards.release]
    known = {"survey": chosen.survey, "model": chosen.model}
    words = []
    for option in ("cutouts", "images", "predictions"):
        words += [f"--{option}", path(f"<{option}>", **known)]
    metrics = release_metrics(wildcards)
    return shlex.join(words + (["--metrics", metrics] if metrics else []))


def image_survey(wildcards):
    """Survey whose images a model learns from; None when they are a folder of files."""
    return CFG.labels[CFG.models[wildcards.model].labels].images.survey


def labelled_images(wildcards):
    """What to wait for before a model's images are read; ancient for a survey's list, so that
    new galaxies retrain nothing."""
    survey = image_survey(wildcards)
    if survey is None:
        return path("<labels>/images.parquet", labels=CFG.models[wildcards.model].labels)
    return ancient(path("<survey>/images.csv", survey=survey))


def image_description(wildcards):
    """How a model's images are made: not ancient, so that another recipe retrains."""
    survey = image_survey(wildcards)
    return [] if survey is None else path("<survey>/images.json", survey=survey)


def image_arguments(wildcards):
    """Spell the images of a model for the command line: one file, or a folder and its list."""
    survey = image_survey(wildcards)
    if survey is None:
        return shlex.quote(labelled_images(wildcards))
    folder, table = (path(t, survey=survey) for t in ("<images>", "<survey>/images.csv"))
    return shlex.join([folder, "--partitions", table])


def versions_of_images(survey):
    """Spell the versions of the code that makes a survey's images."""
    recipe = CFG.surveys[survey].images.version
    return f"fetch {STAGE_VERSIONS['fetch']}, render {STAGE_VERSIONS['render']}, recipe {recipe}"


def survey_images(wildcards):
    """Images of every partition of a survey."""
    checkpoints.partition_catalog.get(survey=wildcards.survey)
    table = path("<catalog>/partitions.csv", survey=wildcards.survey)
    template = "<images>/{part}.parquet"
    return [path(template, survey=wildcards.survey, part=part) for part in part_names(table)]


def votes_of(wildcards):
    """Path of the votes that a model learns from."""
    return path("<labels>/votes.parquet", labels=CFG.models[wildcards.model].labels)


def tile(wildcards):
    """Tile of one partition; it exists once the checkpoint has run."""
    checkpoints.partition_catalog.get(survey=wildcards.survey)
    return path("<tiles>/{part}.parquet", survey=wildcards.survey, part=wildcards.part)


def cutout_files(wildcards):
    """Files that a survey's cutouts depend on: a footprint, a table of tiles, a truth table."""
    return list(map(str, CFG.surveys[wildcards.survey].cutouts.settings.input_files().values()))


def tree_of(wildcards):
    """Tree file of a labelled set."""
    return str(CFG.tree_path(wildcards.labels, TREES))
