"""Input functions of the rules, and how they spell paths for the command line."""


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


def tile(wildcards):
    """Tile of one partition; it exists once the checkpoint has run."""
    checkpoints.partition_catalog.get(survey=wildcards.survey)
    return path("<tiles>/{part}.parquet", survey=wildcards.survey, part=wildcards.part)


def cutout_files(wildcards):
    """Files that a survey's cutouts depend on: a footprint, a table of tiles, a truth table."""
    return list(map(str, CFG.surveys[wildcards.survey].cutouts.settings.input_files().values()))


def everything(wildcards):
    """Give every release and evaluation; say so when there are none."""
    if not RELEASES and not EVALUATIONS:
        print(
            "galaxymill: this config has no release and no model that is evaluated, so that target "
            "all makes nothing; target images fetches and renders the surveys",
            file=sys.stderr,
        )
    return [*RELEASES, *EVALUATIONS]


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
    for name in CFG.models[wildcards.model].labels:
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
    surveys = set(CFG.image_surveys(wildcards.model)) - {None}
    return paths("<survey>/images.json", survey=sorted(surveys))


def votes_of(wildcards):
    """Paths of the votes that a model learns from."""
    return paths("<labels>/votes.parquet", labels=CFG.models[wildcards.model].labels)


def initial_model(wildcards):
    """The model that a model's encoder starts from, if it is one."""
    file = CFG.models[wildcards.model].train.weights_file
    return [] if file is None else str(file)


def learned_from(wildcards):
    """Spell the votes and images of a model for the command line."""
    words = [word for votes in votes_of(wildcards) for word in ("--votes", votes)]
    return shlex.join(
        words + [word for name in image_sets(wildcards) for word in ("--images", name)]
    )


def labelled_catalogs(wildcards):
    """Catalogues of the surveys that a model's galaxies are of: errors are set against their
    columns. Ancient, so that new galaxies evaluate nothing anew."""
    surveys = sorted(set(CFG.image_surveys(wildcards.model)) - {None})
    return [ancient(name) for name in paths("<catalog>/objects.parquet", survey=surveys)]


def simulated_truth(wildcards):
    """Truth of the sky that a model's galaxies are of, when it is simulated."""
    surveys = set(CFG.image_surveys(wildcards.model))
    if len(surveys) != 1 or None in surveys:
        return []
    truth = getattr(CFG.surveys[surveys.pop()].cutouts.settings, "truth", None)
    return [] if truth is None else ancient(str(truth))


def what_is_known(wildcards, input):
    """Spell for the command line what else is known of a model's galaxies."""
    words = [word for name in input.catalogs for word in ("--catalog", name)]
    return shlex.join(words + (["--truth", str(input.truth)] if input.truth else []))


def shown(file, caption, what):
    """Make a file of an evaluation a part of Snakemake's report."""
    return report(
        f"<evaluation>/{file}",
        caption=f"../report/{caption}.rst",
        category="Evaluation",
        subcategory="{model}",
        labels={"what": what},
    )


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
