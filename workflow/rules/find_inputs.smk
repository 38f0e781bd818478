"""Input functions of the rules of spaces and maps."""


def every_feature(wildcards):
    """Give every file of features of the config, and the pages of maps."""
    shown = [name for name, one in CFG.spaces.items() if one.maps]
    return every_feature_of(CFG.spaces) + paths("<maps>/report.html", space=shown)


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
