"""The config, checked, and what follows from it: targets, and slots a host."""

import gc
import json
import os
import re
import shlex
import sys
from pathlib import Path

from galaxymill.catalog.names import part_names
from galaxymill.needs import NEEDS, fetching, size_mb, training
from galaxymill.config.files import load_config, rated_interests
from galaxymill.errors import UserError
from galaxymill.paths import PATHVARS
from galaxymill.planning.models import model_flags
from galaxymill.reproduction.closure import describe_run
from galaxymill.stages import STAGE_VERSIONS


pathvars:
    **PATHVARS,


# In a module, workflow.pathvars are the module's only while its files are read.
PATHS = workflow.pathvars

# A large DAG is millions of objects that stay: looking for garbage among them takes time.
gc.set_threshold(100_000, 50, 100)


wildcard_constraints:
    simulation=r"[\w-]+",
    survey=r"[\w-]+",
    labels=r"[\w-]+",
    model=r"[\w-]+",
    evaluation=r"[\w-]+",
    prediction=r"[\w-]+",
    space=r"[\w-]+",
    search=r"[\w-]+",
    interest=r"[\w-]+",
    release=r"[\w-]+",
    explorer=r"[\w-]+",
    part=r"g\d+-k\d+-p\d+",


# Rules call the galaxymill of this environment, also when nobody has activated it.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

TREES = Path(BASE, "config", "trees")

try:
    CFG = load_config(config, ", ".join(map(str, workflow.configfiles)) or "config", TREES)
except UserError as error:
    print(f"galaxymill: {error}", file=sys.stderr)
    sys.exit(2)


def path(template, **wildcards):
    """Fill a path template of galaxymill.paths."""
    return PATHS.apply(template).format(**wildcards)


def paths(template, **wildcards):
    """Fill a template with each of the values of its one wildcard."""
    (name,) = wildcards
    return [path(template, **{name: value}) for value in wildcards[name]]


RUNS = {name: describe_run(config, CFG, name) for name in CFG.releases}
RELEASES = paths("<release>/SHA256SUMS", release=CFG.releases)
EXPLORERS = paths("<explorer>/index.html", explorer=CFG.explorers)
EVALUATED = CFG.evaluations()
EVALUATIONS = paths("<evaluation>/metrics.json", evaluation=EVALUATED)
IMAGES = paths("<survey>/images.csv", survey=CFG.surveys)
PLANS = paths("<catalog>/plan.txt", survey=CFG.surveys)
MAPS = paths("<maps>/report.html", space=[n for n, one in CFG.spaces.items() if one.maps])
SEARCHES = paths("<search>/nearest.csv", search=CFG.searches)
RATED = rated_interests(CFG)
INTERESTS = paths("<interesting>/report.html", interest=RATED)
VOTES = paths("<labels>/votes.parquet", labels=CFG.labels)

# The same files are made in another way by an encoder alone, and by a probe, which takes features.
ENCODERS = [name for name, model in CFG.models.items() if not model.labels]
PROBES = [name for name, model in CFG.models.items() if model.probe and name not in CFG.rounds]
TRAINED = [name for name in CFG.models if name not in (*ENCODERS, *PROBES, *CFG.rounds)]
BY_PROBES = [name for name, one in CFG.predictions.items() if CFG.models[one.model].probe]
BY_NETWORKS = [name for name in CFG.predictions if name not in BY_PROBES]


def one_of(template, **names):
    """Apply a template whose wildcard is one of some names, of which there may be none.

    Constraints of wildcards by name do not reach into pathvars.
    """
    ((wildcard, allowed),) = names.items()
    pattern = "|".join(map(re.escape, allowed)) or "(?!)"
    return PATHS.apply(template).replace(f"{{{wildcard}}}", f"{{{wildcard},{pattern}}}")


# Slots a host, so that several jobs together never ask it faster than one may.
HOSTS = {host: f"host_{re.sub(r'[^a-z0-9]', '_', host.lower())}" for host in CFG.hosts()}
for host, jobs in CFG.hosts().items():
    workflow.register_resource(HOSTS[host], jobs)


def host_slots(host):
    """Give the slots of one host: 1 for the surveys that ask it."""
    asking = {name for name, one in CFG.surveys.items() if one.cutouts.settings.host == host}
    # Nothing is called for each of ten thousand jobs when all surveys ask the same one.
    return 1 if asking == set(CFG.surveys) else lambda wildcards: int(wildcards.survey in asking)


def needs(need, galaxies=lambda wildcards, input: 0):
    """Make the resource functions of a rule: memory and minutes, more with each attempt."""

    def resource(kind):
        def value(wildcards, input, attempt):
            chosen = need(wildcards) if callable(need) else need
            return getattr(chosen, kind)(input, galaxies(wildcards, input), attempt)

        return value

    return {kind: resource(kind) for kind in ("mem_mb", "runtime")}


def partition_galaxies(wildcards, input):
    """Most galaxies of a partition."""
    return CFG.surveys[wildcards.survey].partitions.galaxies_per_partition


def predicted_galaxies(wildcards, input):
    """Most galaxies of a partition that is predicted."""
    survey = CFG.surveys[CFG.predictions[wildcards.prediction].survey]
    return survey.partitions.galaxies_per_partition


def simulated_galaxies(wildcards, input):
    """Galaxies of a simulated sky."""
    return CFG.simulations[wildcards.simulation].n_galaxies


def labelled_galaxies(wildcards, input):
    """About as many galaxies as tables of votes hold, at a hundred bytes each."""
    return size_mb(input.votes) * 10_000


def rated_galaxies(wildcards, input):
    """Most galaxies of a partition that is rated."""
    survey = CFG.interest_survey(wildcards.interest)
    return CFG.surveys[survey].partitions.galaxies_per_partition


def searched_galaxies(wildcards, input):
    """Most galaxies among which others are looked for."""
    survey = CFG.predictions[CFG.search_prediction(wildcards.search)].survey
    return len(input.features) * CFG.surveys[survey].partitions.galaxies_per_partition


def released_galaxies(wildcards, input):
    """Most galaxies of a release."""
    survey = CFG.surveys[CFG.release_survey(wildcards.release)]
    return len(input.cutouts) * survey.partitions.galaxies_per_partition


def explored_galaxies(wildcards, input):
    """Most galaxies of a partition that is explored."""
    survey = CFG.release_survey(released(wildcards))
    return CFG.surveys[survey].partitions.galaxies_per_partition


def shown_galaxies(wildcards, input):
    """Most galaxies of an explorer."""
    return len(input.slices) * explored_galaxies(wildcards, input)


def fetch_need(wildcards):
    """What fetching a partition needs, at the rate that its host allows one job."""
    return fetching(CFG.limits(wildcards.survey).share().requests_per_second)


def train_need(wildcards):
    """What training a model needs."""
    train = CFG.models[wildcards.model].train
    return training(train.epochs * train.networks, train.processes, train.devices, train.cache_gb)


def train_gpus(wildcards):
    """GPUs of each node that trains, as SLURM is asked for them."""
    return f"gpu:{CFG.models[wildcards.model].train.devices}"


def predict_gpu(wildcards):
    """The GPU of a prediction, unless it is to be made on CPUs."""
    return None if CFG.predictions[wildcards.prediction].device == "cpu" else "gpu:1"


def evaluate_gpu(wildcards):
    """The GPU of an evaluation, likewise."""
    return None if EVALUATED[wildcards.evaluation].settings.device == "cpu" else "gpu:1"
