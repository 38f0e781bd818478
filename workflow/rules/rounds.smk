"""Rounds: ask volunteers what matters, learn, and keep what is better."""


include: "inputs_rounds.smk"


rule rounds:
    """Judge what came back, and choose what to ask next."""
    input:
        VERDICTS,
        [path("<round>/{number}/upload/manifest.csv", round=n, number=k) for n, k in ASKING.items()],
        paths("<round>/history/report.html", round=CFG.rounds),
    localrule: True


rule choose_subjects:
    """Choose the galaxies that volunteers are asked about next, by the champion's predictions.
    Inputs are `ancient`: once asked, nobody is chosen anew by predictions of a later champion."""
    input:
        predictions=lambda wc: ancient(round_predictions(choice(wc)[0])),
        partitions=lambda wc: ancient(
            path("<catalog>/partitions.csv", survey=CFG.rounds[choice(wc)[0]].survey)
        ),
        model=lambda wc: ancient(path("<model>/model.yaml", model=choice(wc)[0])),
        votes=lambda wc: ancient(
            path("<labels>/votes.parquet", labels=round_labels(choice(wc)[0], choice(wc)[1] - 1))
        ),
        before=lambda wc: ancient(subjects_before(*choice(wc))),
        space=lambda wc: ancient(diverse_space(wc)),
    output:
        # Kept while it is made anew: who was uploaded is not to be lost.
        subjects=update(ASKED),
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
        words=choice_words,
        settings=lambda wc: CFG.rounds[choice(wc)[0]].choose_settings().to_flags(),
        split=lambda wc: CFG.labels[round_labels(choice(wc)[0], 0)].splits.to_flags("--split"),
    shell:
        "galaxymill choose-subjects {input.partitions:q} {params.folder:q} {output.subjects:q} "
        "--model {input.model:q} --votes {input.votes:q} {params.words} "
        "{params.settings} {params.split} > {log:q} 2>&1"


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
        names=lambda wc: shlex.join(
            word
            for name, key in subject_keys(CFG, CFG.rounds[wc.round]).items()
            for word in ("--key", f"{name}={key}")
        ),
    shell:
        "galaxymill write-subjects {output.manifest:q} {input.subjects:q} "
        "--images {input.images:q} {params.names} > {log:q} 2>&1"


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
        files=judge_files,
        settings=lambda wc: CFG.predictions[wc.round].settings().to_flags(),
    shell:
        "galaxymill judge-round {output.model:q} --votes {input.votes:q} "
        "--champion {input.champion:q} --challenger {input.challenger:q} {params.words} "
        "{params.files} {params.settings} > {log:q} 2>&1"


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


rule report_rounds:
    """Show what was asked and why, what came back, what it gained, and what is left to ask."""
    input:
        predictions=lambda wc: round_predictions(wc.round),
        partitions=lambda wc: path("<catalog>/partitions.csv", survey=CFG.rounds[wc.round].survey),
        model=lambda wc: path("<model>/model.yaml", model=wc.round),
        images=lambda wc: path("<survey>/images.csv", survey=CFG.rounds[wc.round].survey),
        votes=lambda wc: [
            path("<labels>/votes.parquet", labels=round_labels(wc.round, number))
            for number in range(CFG.rounds[wc.round].asking)
        ],
        verdicts=lambda wc: [
            champion_of(wc.round, number) for number in range(1, CFG.rounds[wc.round].asking)
        ],
        before=lambda wc: subjects_before(wc.round, CFG.rounds[wc.round].asking),
        now=lambda wc: path(
            "<round>/{number}/subjects.parquet", round=wc.round, number=ASKING[wc.round]
        ),
    output:
        page="<round>/history/report.html",
        metrics="<round>/history/metrics.json",
    log:
        "<logs>/history/{round}.log",
    benchmark:
        "<benchmarks>/history/{round}.tsv"
    resources:
        **needs(
            NEEDS["history"],
            lambda wc, input: len(input.predictions)
            * CFG.surveys[CFG.rounds[wc.round].survey].partitions.galaxies_per_partition,
        ),
    params:
        stage_version=STAGE_VERSIONS["history"],
        folder=lambda wc: path("<predictions>", prediction=wc.round),
        featured=lambda wc: CFG.rounds[wc.round].featured,
        files=history_files,
    shell:
        "galaxymill report-rounds {output.page:q} --partitions {input.partitions:q} "
        "--predictions {params.folder:q} --model {input.model:q} --images {input.images:q} "
        "{params.files} --featured {params.featured:q} > {log:q} 2>&1"
