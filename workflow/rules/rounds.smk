"""Rounds: ask volunteers what matters, learn, and keep what is better."""

from types import SimpleNamespace


def round_labels(name, number):
    """Labels with the answers of so many rounds."""
    first = CFG.models[CFG.rounds[name].model].labels[0]
    return f"{name}-{number:04d}" if number else first


def subjects_before(name, number):
    """What was asked in the rounds before one; on record once the answers have come back."""
    numbers = [f"{one:04d}" for one in range(1, number)]
    files = [path("<round>/{number}/subjects.parquet", round=name, number=n) for n in numbers]
    for file, export in zip(files, CFG.rounds[name].exports):
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


def judged(wildcards):
    """The challenger of a round, as rules of models name one."""
    return SimpleNamespace(model=f"{wildcards.round}-{wildcards.number}")


def judge_words(wildcards, input):
    """Spell for the command line what a verdict is made of."""
    own, number = CFG.rounds[wildcards.round], int(wildcards.number)
    words = [word for name in image_sets(judged(wildcards)) for word in ("--images", name)]
    words += [word for name in input.subjects for word in ("--subjects", name)]
    words += ["--number", str(number), "--margin", str(own.margin)]
    words += ["--features", str(input.features)] if input.features else []
    if said := own.overrule.get(number):
        words += ["--promote" if said.promote else "--keep", said.reason]
    return shlex.join(words)


rule rounds:
    """Judge what came back, and choose what to ask next."""
    input:
        VERDICTS,
        [
            path("<round>/{number}/upload/manifest.csv", round=n, number=k)
            for n, k in ASKING.items()
        ],
    localrule: True


rule choose_subjects:
    """Choose the galaxies that volunteers are asked about next, by the champion's predictions.
    These are ancient: once asked, nobody is chosen anew by predictions of a later champion."""
    input:
        predictions=lambda wc: [
            ancient(file)
            for file in every_part(
                "<predictions>/{part}.parquet",
                CFG.rounds[choice(wc)[0]].survey,
                prediction=choice(wc)[0],
            )
        ],
        partitions=lambda wc: ancient(
            path("<catalog>/partitions.csv", survey=CFG.rounds[choice(wc)[0]].survey)
        ),
        model=lambda wc: ancient(path("<model>/model.yaml", model=choice(wc)[0])),
        votes=lambda wc: ancient(
            path("<labels>/votes.parquet", labels=round_labels(choice(wc)[0], choice(wc)[1] - 1))
        ),
        before=lambda wc: ancient(subjects_before(*choice(wc))),
    output:
        subjects="<results>/rounds/{asked,%s}/subjects.parquet"
        % ("|".join(f"{name}/{number}" for name, number in ASKING.items()) or "(?!)"),
    log:
        "<logs>/choose/{asked}.log",
    benchmark:
        "<benchmarks>/choose/{asked}.tsv"
    resources:
        **needs(
            NEEDS["choose"],
            lambda wc, input: len(input.predictions)
            * CFG.surveys[CFG.rounds[choice(wc)[0]].survey].partitions.galaxies_per_partition,
        ),
    params:
        stage_version=STAGE_VERSIONS["choose"],
        folder=lambda wc: path("<predictions>", prediction=choice(wc)[0]),
        number=lambda wc: choice(wc)[1],
        before=lambda wc, input: shlex.join(w for one in input.before for w in ("--before", one)),
        settings=lambda wc: CFG.rounds[choice(wc)[0]].choose_settings().to_flags(),
        split=lambda wc: CFG.labels[round_labels(choice(wc)[0], 0)].splits.to_flags("--split"),
    shell:
        "galaxymill choose-subjects {input.partitions:q} {params.folder:q} {output.subjects:q} "
        "--model {input.model:q} --votes {input.votes:q} --number {params.number} "
        "{params.before} {params.settings} {params.split} > {log:q} 2>&1"


rule write_subjects:
    """Write the images of a round's subjects, and the manifest that Zooniverse's uploaders read."""
    input:
        subjects="<round>/{number}/subjects.parquet",
        images=lambda wc: path("<survey>/images.csv", survey=CFG.rounds[wc.round].survey),
    output:
        manifest="<round>/{number}/upload/manifest.csv",
    log:
        "<logs>/write_subjects/{round}/{number}.log",
    benchmark:
        "<benchmarks>/write_subjects/{round}/{number}.tsv"
    resources:
        **needs(NEEDS["write_subjects"], lambda wc, input: CFG.rounds[wc.round].budget),
    params:
        stage_version=STAGE_VERSIONS["write_subjects"],
    shell:
        "galaxymill write-subjects {output.manifest:q} {input.subjects:q} "
        "--images {input.images:q} > {log:q} 2>&1"


rule judge_round:
    """Compare champion and challenger on the galaxies that were drawn at random for a test."""
    input:
        votes=lambda wc: path(
            "<labels>/votes.parquet", labels=round_labels(wc.round, int(wc.number))
        ),
        images=lambda wc: labelled_images(judged(wc)),
        champion=lambda wc: champion_of(wc.round, int(wc.number) - 1),
        challenger="<results>/models/{round}-{number}/model.yaml",
        subjects=lambda wc: subjects_before(wc.round, int(wc.number) + 1),
        features=lambda wc: features_list(judged(wc)),
    output:
        model="<round>/{number}/model.yaml",
        verdict="<round>/{number}/verdict.json",
        page="<round>/{number}/report.html",
    log:
        "<logs>/judge/{round}/{number}.log",
    benchmark:
        "<benchmarks>/judge/{round}/{number}.tsv"
    resources:
        **needs(NEEDS["judge"], labelled_galaxies),
    params:
        stage_version=STAGE_VERSIONS["judge"],
        words=judge_words,
        settings=lambda wc: CFG.predictions[wc.round].settings().to_flags(),
    shell:
        "galaxymill judge-round {output.model:q} --votes {input.votes:q} "
        "--champion {input.champion:q} --challenger {input.challenger:q} {params.words} "
        "{params.settings} > {log:q} 2>&1"


rule take_champion:
    """Put the champion where predictions find it: they are made anew only when it is another."""
    input:
        model=lambda wc: champion_of(wc.model, CFG.rounds[wc.model].asking - 1),
    output:
        model=one_of("<model>/model.yaml", model=CFG.rounds),
    log:
        "<logs>/take_champion/{model}.log",
    localrule: True
    shell:
        "galaxymill take-champion {input.model:q} {output.model:q} > {log:q} 2>&1"
