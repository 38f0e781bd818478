"""What the rules of rounds take."""

from types import SimpleNamespace

from galaxymill.config.rounds import subject_keys, subjects_files


wildcard_constraints:
    round=r"[\w-]+",
    number=r"\d{4}",


VERDICTS = [
    path("<round>/{number}/model.yaml", round=name, number=f"{number:04d}")
    for name, one in CFG.rounds.items()
    for number in range(1, one.asking)
]
# The round that is being asked; those before are on record, and nobody is chosen anew for them.
ASKING = {name: f"{one.asking:04d}" for name, one in CFG.rounds.items()}


# Rounds and numbers go together: those before are never chosen anew.
ASKED = "<results>/rounds/{asked,%s}/subjects.parquet" % (
    "|".join(f"{name}/{number}" for name, number in ASKING.items()) or "(?!)"
)


def round_labels(name, number):
    """Labels with the answers of so many rounds."""
    first = CFG.models[CFG.rounds[name].model].labels[0]
    return f"{name}-{number:04d}" if number else first


def subjects_before(name, number):
    """What was asked in the rounds before one; on record once the answers have come back."""
    own = CFG.rounds[name]
    files = list(map(str, subjects_files(name, own)))[: number - 1]
    for file, export in zip(files, own.exports):
        if not Path(file).is_file():
            raise WorkflowError(
                f"{export} has come back, but what was asked is lost: {file}; without it nothing "
                "tells which galaxies were drawn at random. Restore it from a copy"
            )
    return files


def champion_of(name, number):
    """Who is champion after so many rounds."""
    if not number:
        return path("<model>/model.yaml", model=CFG.rounds[name].model)
    return path("<round>/{number}/model.yaml", round=name, number=f"{number:04d}")


def choice(wildcards):
    """Name and number of the round that is asked."""
    name = wildcards.asked.split("/")[0]
    return name, CFG.rounds[name].asking


def round_predictions(name):
    """What the champion predicts for every galaxy."""
    return every_part("<predictions>/{part}.parquet", CFG.rounds[name].survey, prediction=name)


def diverse_space(wildcards):
    """The space that what rules choose is spread over, if any, and its features."""
    space = CFG.rounds[choice(wildcards)[0]].diverse
    if not space:
        return []
    return [path("<space>/space.yaml", space=space), path("<features>/features.csv", space=space)]


def choice_words(wildcards, input):
    """Spell for the command line what subjects are chosen by."""
    name, number = choice(wildcards)
    words = ["--number", str(number)]
    words += [word for one in input.before for word in ("--before", one)]
    for option, file in zip(("--space", "--features"), input.space):
        words += [option, file]
    return shlex.join(words)


def judged(wildcards):
    """The challenger of a round, as rules of models name one."""
    return SimpleNamespace(model=f"{wildcards.round}-{wildcards.number}")


def judge_words(wildcards):
    """Spell for the command line by what a round is judged, and what a person said to it."""
    own, number = CFG.rounds[wildcards.round], int(wildcards.number)
    words = ["--number", str(number), "--margin", str(own.margin)]
    if said := own.overrule.get(number):
        words += ["--promote" if said.promote else "--keep", said.reason]
    return shlex.join(words)


def judge_files(wildcards, input):
    """Spell for the command line what a verdict is made of."""
    words = [word for name in image_sets(judged(wildcards)) for word in ("--images", name)]
    words += [word for name in input.subjects for word in ("--subjects", name)]
    words += ["--features", str(input.features)] if input.features else []
    return shlex.join(words)


def history_files(wildcards, input):
    """Spell for the command line what the page of all rounds is made of."""
    words = [word for one in (*input.before, input.now) for word in ("--subjects", one)]
    words += [word for one in input.votes for word in ("--votes", one)]
    return shlex.join(words)
