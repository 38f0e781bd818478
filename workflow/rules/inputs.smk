"""Input functions of the rules, and how they spell paths for the command line."""

from galaxymill.config.observed import observed

OBSERVED = observed(CFG)


def versions_of_images(survey):
    """Spell the versions of the code that makes a survey's images."""
    recipe = CFG.surveys[survey].images.version
    return f"fetch {STAGE_VERSIONS['fetch']}, render {STAGE_VERSIONS['render']}, recipe {recipe}"


def survey_images(wildcards):
    """Images of every partition of a survey."""
    return every_part("<images>/{part}.parquet", wildcards.survey)


def tile(wildcards):
    """Tile of one partition; it exists once the checkpoint has run."""
    checkpoints.partition_catalog.get(survey=wildcards.survey)
    return path("<tiles>/{part}.parquet", survey=wildcards.survey, part=wildcards.part)


def cutout_files(wildcards):
    """Files that a survey's cutouts depend on: a footprint, a truth table, another's cutouts."""
    files = CFG.surveys[wildcards.survey].cutouts.settings.input_files().values()
    return [*map(str, files), *shown_cutouts(wildcards)]


def shown_cutouts(wildcards):
    """The partition of another survey that an observed one shows."""
    shown = OBSERVED.get(wildcards.survey)
    if shown is None:
        return []
    return [path("<cutouts>/{part}.parquet", survey=shown.survey, part=wildcards.part)]


def described_cutouts(wildcards):
    """How a survey's cutouts are made, and those that an observed one shows."""
    surveys = [wildcards.survey]
    if wildcards.survey in OBSERVED:
        surveys.append(OBSERVED[wildcards.survey].survey)
    return " of ".join(CFG.surveys[survey].cutouts.to_flags() for survey in surveys)


def fetch_flags(wildcards):
    """How a partition is fetched: what changes no product."""
    flags = CFG.operational_flags(wildcards.survey)
    return " ".join([flags, *(f"--set cutouts={one}" for one in shown_cutouts(wildcards))])


def everything(wildcards):
    """Give every release and evaluation; say so when there is nothing to make."""
    if not RELEASES and not EVALUATIONS and not CFG.spaces:
        print(
            "galaxymill: this config has no release and no model that is evaluated, so that target "
            "all makes nothing; galaxymill run -- images fetches and renders the surveys",
            file=sys.stderr,
        )
    return [
        *RELEASES,
        *EVALUATIONS,
        *EXPLORERS,
        *MAPS,
        *SEARCHES,
        *DETECTABILITY,
        *every_interest(wildcards),
    ]


def label_files(wildcards):
    """Files of a labelled set."""
    return list(map(str, CFG.labels[wildcards.labels].votes))


def label_settings_files(wildcards):
    """Files that the settings of a labelled set name."""
    return list(map(str, CFG.labels[wildcards.labels].settings.input_files().values()))


def tree_of(wildcards):
    """Tree file of a labelled set; none for classes and numbers."""
    tree = CFG.tree_path(wildcards.labels, TREES)
    return [] if tree is None else str(tree)


def labelled_catalog(wildcards):
    """Catalogue of the survey that a labelled set's images are of, if they are. Ancient, so that
    new galaxies collect no labels anew."""
    survey = CFG.labels[wildcards.labels].images.survey
    return ancient(path("<catalog>/objects.parquet", survey=survey)) if survey else []


def label_paths(wildcards):
    """Spell the paths of a labelled set's tree, settings and catalogue for the command line."""
    words = [CFG.labels[wildcards.labels].settings.operational_flags()]
    for option, file in (("tree", tree_of(wildcards)), ("catalog", labelled_catalog(wildcards))):
        words += [f"--{option} {shlex.quote(str(file))}"] if file else []
    return " ".join(words)


def image_sets(wildcards):
    """Images that a model learns from: a labelled folder's, or the list of a survey's."""
    sets = []
    for name in CFG.models[learning_model(wildcards)].labels:
        survey = CFG.labels[name].images.survey
        folder = path("<labels>/images.parquet", labels=name)
        sets.append(path("<survey>/images.csv", survey=survey) if survey else folder)
    return list(dict.fromkeys(sets))


def labelled_images(wildcards):
    """What to wait for before a model's images are read; ancient for a survey's list, so that
    new galaxies retrain nothing."""
    return [ancient(name) if name.endswith(".csv") else name for name in image_sets(wildcards)]


def image_descriptions(wildcards):
    """How a model's images are made: not ancient, so that another recipe retrains."""
    surveys = set(CFG.image_surveys(learning_model(wildcards))) - {None}
    return paths("<survey>/images.json", survey=sorted(surveys))


def learning_model(wildcards):
    """Name of the model that is trained or evaluated."""
    evaluated = getattr(wildcards, "evaluation", None)
    return EVALUATED[evaluated].model if evaluated else wildcards.model


def votes_of(wildcards):
    """Paths of the votes that a model learns from."""
    return paths("<labels>/votes.parquet", labels=CFG.models[learning_model(wildcards)].labels)


def learned_votes(wildcards):
    """Paths of what a network learns: votes, or by individuals, effective ones."""
    model = CFG.models[wildcards.model]
    return paths(f"<labels>/{model.train.labels_file}", labels=model.labels)


def initial_model(wildcards):
    """The model that a model's encoder starts from, if it is one."""
    file = CFG.models[wildcards.model].network.weights_file
    return [] if file is None else str(file)


def training_flags(wildcards, input):
    """Spell the votes and images of a model for the command line."""
    words = [word for votes in input.votes for word in ("--votes", votes)]
    return shlex.join(
        words + [word for name in image_sets(wildcards) for word in ("--images", name)]
    )


def labelled_catalogs(wildcards):
    """Catalogues of the surveys that a model's galaxies are of: errors are set against their
    columns. Ancient, so that new galaxies evaluate nothing anew."""
    surveys = sorted(set(CFG.image_surveys(learning_model(wildcards))) - {None})
    return [ancient(name) for name in paths("<catalog>/objects.parquet", survey=surveys)]


def simulated_truth(wildcards):
    """Truth of the sky that a model's galaxies are of, when it is simulated."""
    surveys = set(CFG.image_surveys(learning_model(wildcards)))
    if len(surveys) != 1 or None in surveys:
        return []
    truth = getattr(CFG.surveys[surveys.pop()].cutouts.settings, "truth", None)
    return [] if truth is None else ancient(str(truth))


def evaluation_flags(wildcards, input):
    """Spell for the command line what else is known of a model's galaxies."""
    words = [word for name in input.catalogs for word in ("--catalog", name)]
    for option in ("truth", "features"):
        words += [f"--{option}", str(input.get(option))] if input.get(option) else []
    return shlex.join(words)


def features_list(wildcards):
    """List of the features that a probe learns from; none for a network. Ancient, so that new
    galaxies learn and evaluate nothing anew."""
    probe = CFG.models[learning_model(wildcards)].probe
    return ancient(path("<features>/features.csv", space=probe.features)) if probe else []


def report_item(file, caption, what):
    """Make a file of an evaluation a part of Snakemake's report."""
    return report(
        f"<evaluation>/{file}",
        caption=f"../report/{caption}.rst",
        category="Evaluation",
        subcategory="{evaluation}",
        labels={"what": what},
    )
