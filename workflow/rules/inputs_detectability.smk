"""Input functions of detectability: what is compared, and what a release takes of it."""

from galaxymill.config.detectability import near_survey, view_of

DETECTABILITY = paths("<detectability>/detectability.parquet", detectability=CFG.detectability)


def compared_predictions(wildcards):
    """Every file of the near and far predictions of a detectability."""
    one = CFG.detectability[wildcards.detectability]
    return every_prediction([*filter(None, [one.near]), *one.far])


def compared_votes(wildcards):
    """Near votes of a detectability, if they are volunteers'."""
    labels = CFG.detectability[wildcards.detectability].labels
    return [path("<labels>/votes.parquet", labels=labels)] if labels else []


def compared_options(wildcards):
    """Near and far of a detectability, each after the name of its option."""
    one = CFG.detectability[wildcards.detectability]
    options = [("near", file) for file in compared_votes(wildcards)]
    if one.near:
        options += [("near", path("<predictions>", prediction=one.near))]
        options += [("partitions", predicted_partitions(one.near))]
    for name in one.far:
        options += [("far", path("<predictions>", prediction=name))]
        options += [("far-partitions", predicted_partitions(name))]
        options += [("view", spelt_view(CFG.predictions[name].survey, one.band))]
    return options


def predicted_partitions(name):
    """The table of partitions of a prediction's survey."""
    return path("<catalog>/partitions.csv", survey=CFG.predictions[name].survey)


def spelt_view(survey, band):
    """Spell how a survey shows galaxies in one band for the command line."""
    return json.dumps(view_of(CFG, survey, band).product_settings())


def release_detectability(wildcards):
    """The detectability of a release, and how its survey shows galaxies, as options."""
    name = CFG.releases[released(wildcards)].detectability
    if name is None:
        return []
    view = spelt_view(CFG.release_survey(released(wildcards)), CFG.detectability[name].band)
    return [("detectability", file) for file in detectability_file(wildcards)] + [("view", view)]


def detectability_file(wildcards):
    """The detectability of a release, if it has one."""
    name = CFG.releases[released(wildcards)].detectability
    return paths("<detectability>/detectability.parquet", detectability=[name] if name else [])
