"""Input functions of the rules from predictions on."""


def every_part(template, survey, **known):
    """Give a survey's file of each partition, once they are known."""
    checkpoints.partition_catalog.get(survey=survey)
    table = path("<catalog>/partitions.csv", survey=survey)
    return [path(template, survey=survey, part=part, **known) for part in part_names(table)]


def every_prediction(names):
    """Give every file of some predictions."""
    template, chosen = "<predictions>/{part}.parquet", [(n, CFG.predictions[n]) for n in names]
    return [f for n, one in chosen for f in every_part(template, one.survey, prediction=n)]


def predicted_images(wildcards):
    """Images of the partition that is predicted."""
    survey = CFG.predictions[wildcards.prediction].survey
    return path("<images>/{part}.parquet", survey=survey, part=wildcards.part)


def predicting_model(wildcards):
    """The model of a prediction."""
    return path("<model>/model.yaml", model=CFG.predictions[wildcards.prediction].model)


def every_feature(wildcards):
    """Give every file of features of the config."""
    return every_feature_of(CFG.spaces)


def every_feature_of(names):
    """Give every file of features of some spaces."""
    spaces = [(name, CFG.predictions[CFG.spaces[name].predictions].survey) for name in names]
    template = "<features>/{part}.parquet"
    return [f for name, survey in spaces for f in every_part(template, survey, space=name)]


def space_prediction(wildcards):
    """The prediction that a space is fitted to."""
    return CFG.predictions[CFG.spaces[wildcards.space].predictions]


def space_folders(wildcards):
    """Spell the products of the prediction of a space for the command line."""
    name = CFG.spaces[wildcards.space].predictions
    kinds = ("embeddings", "predictions")
    return shlex.join(w for k in kinds for w in (f"--{k}", path(f"<{k}>", prediction=name)))


def map_folders(wildcards):
    """Spell the folders that the page of a space is made of for the command line."""
    prediction = CFG.spaces[wildcards.space].predictions
    known = {"space": wildcards.space, "prediction": prediction}
    known["survey"] = CFG.predictions[prediction].survey
    kinds = ("features", "predictions", "images")
    return shlex.join(w for k in kinds for w in (f"--{k}", path(f"<{k}>", **known)))


def search_files(wildcards):
    """The table, or the images, that a search is for, and the model that images go through."""
    search = CFG.searches[wildcards.search]
    name = CFG.predictions[CFG.search_prediction(wildcards.search)].model
    model = [path("<model>/model.yaml", model=name)] if search.image else []
    return [*map(str, search.input_files()), *model]


def searched_features(wildcards):
    """Features of every partition that is searched; their predictions are made by then."""
    survey = CFG.predictions[CFG.search_prediction(wildcards.search)].survey
    space = CFG.searches[wildcards.search].space
    return every_part("<features>/{part}.parquet", survey, space=space)


def probe_space(wildcards):
    """The space whose features a probe learns from."""
    return path("<space>/space.yaml", space=CFG.models[wildcards.model].train.features)


def interest_space(wildcards):
    """The space that an interest is in."""
    return path("<space>/space.yaml", space=CFG.interests[wildcards.interest].space)


def ratings_of(wildcards):
    """Files of ratings; where there are none yet, say how to give some."""
    tell_unrated({wildcards.interest} - set(RATED))
    return list(map(str, CFG.interests[wildcards.interest].ratings))


def rating_flags(wildcards):
    """Spell the files of ratings for the command line."""
    files = map(str, CFG.interests[wildcards.interest].ratings)
    return shlex.join(w for file in files for w in ("--ratings", file))


def every_interest(wildcards):
    """Give the pages of the interests that somebody has rated for."""
    tell_unrated(name for name in CFG.interests if name not in RATED)
    return INTERESTS


def tell_unrated(names):
    """Say how to give ratings to interests that have none."""
    for name in names:
        print(
            f"galaxymill: interests.{name} has no ratings yet, and so nothing is made of it; rate "
            f"some galaxies: galaxymill rate {name}",
            file=sys.stderr,
        )


def every_rated_of(names):
    """Give what is told of every galaxy by some interests."""
    surveys = [(name, CFG.interest_survey(name)) for name in names]
    template = "<rated>/{part}.parquet"
    return [f for name, survey in surveys for f in every_part(template, survey, interest=name)]


def released(wildcards):
    """Name of the release that is made, or that an explorer shows."""
    shown = getattr(wildcards, "explorer", None)
    return CFG.explorers[shown].release if shown else wildcards.release


def release_parts(template):
    """Make an input function: a release's file of each partition."""
    return lambda wildcards: every_part(template, CFG.release_survey(released(wildcards)))


def release_models(wildcards):
    """The models that a release's predictions are made with."""
    names = [CFG.predictions[p].model for p in CFG.releases[released(wildcards)].predictions]
    return paths("<model>/model.yaml", model=dict.fromkeys(names))


def release_metrics(wildcards):
    """Metrics of the models of a release; none of those whose labels keep no test galaxies."""
    names = map(CFG.evaluation_name, CFG.releases[released(wildcards)].predictions)
    kept = [name for name in dict.fromkeys(names) if name in EVALUATED]
    return paths("<evaluation>/metrics.json", evaluation=kept)


def release_products(wildcards):
    """Folders of the products of a release, each after the name of its option."""
    release, survey = CFG.releases[released(wildcards)], CFG.release_survey(released(wildcards))
    kinds = ("cutouts", "images")
    return [
        *((kind, path(f"<{kind}>", survey=survey)) for kind in kinds),
        *(("predictions", path("<predictions>", prediction=n)) for n in release.predictions),
        *(("features", path("<features>", space=name)) for name in release.maps),
        *(("rated", path("<rated>", interest=name)) for name in release.interests),
    ]


def release_files(wildcards):
    """The models and evaluations of a release, each after the name of its option."""
    files = {"model": release_models(wildcards), "metrics": release_metrics(wildcards)}
    return [(option, file) for option, given in files.items() for file in given]


def spelt(*functions):
    """Spell options and files for the command line."""
    given = lambda wildcards: [pair for one in functions for pair in one(wildcards)]
    return lambda wildcards: shlex.join(w for o, file in given(wildcards) for w in (f"--{o}", file))


def explored_spaces(wildcards):
    """Folders of the features that an explorer shows, each after the name of its option."""
    names = CFG.explorers[wildcards.explorer].maps
    return [("shown", folder) for folder in paths("<features>", space=names)]


def explored_parts(wildcards):
    """Products of one partition that its slice is made of."""
    survey = CFG.release_survey(released(wildcards))
    checkpoints.partition_catalog.get(survey=survey)
    products = [("tiles", path("<tiles>", survey=survey))]
    products += release_products(wildcards) + explored_spaces(wildcards)
    folders = dict.fromkeys(folder for _, folder in products)
    return [f"{folder}/{wildcards.part}.parquet" for folder in folders]


def explored_models(wildcards):
    """The models of a release, each after the name of its option."""
    return [("model", file) for file in release_models(wildcards)]
