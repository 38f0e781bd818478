"""Models on features: probes are fitted, and applied to every partition."""


rule list_features:
    """List the features of a space; probes wait for them by this list."""
    input:
        features=lambda wc: every_part(
            "<features>/{part}.parquet", CFG.space_survey(wc.space), space=wc.space
        ),
    output:
        features="<features>/features.csv",
    log:
        "<logs>/list_features/{space}.log",
    localrule: True
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        stage_version=STAGE_VERSIONS["project"],
        partitions=lambda wc: path("<catalog>/partitions.csv", survey=CFG.space_survey(wc.space)),
        folder=lambda wc: path("<features>", space=wc.space),
    shell:
        "galaxymill list-images {params.partitions:q} {params.folder:q} {output.features:q} "
        "> {log:q} 2>&1"


rule fit_probe:
    """Fit a small model to labels and features. The list of features is ancient, so that new
    galaxies learn nothing anew; other labels or another space do."""
    input:
        votes=votes_of,
        features=features_list,
        space=probe_space,
    output:
        model=one_of("<model>/model.yaml", model=PROBES),
    log:
        "<logs>/probe/{model}.log",
    benchmark:
        "<benchmarks>/probe/{model}.tsv"
    resources:
        **needs(NEEDS["probe"], labelled_galaxies),
    params:
        stage_version=STAGE_VERSIONS["probe"],
        votes=lambda wc: shlex.join(w for one in votes_of(wc) for w in ("--votes", one)),
        settings=lambda wc: CFG.models[wc.model].train.to_flags(),
    shell:
        "galaxymill probe {output.model:q} {params.votes} --features {input.features:q} "
        "--space {input.space:q} {params.settings} --threads {threads} > {log:q} 2>&1"


rule apply_probe:
    """Predict every galaxy of one partition by a probe, from its features."""
    input:
        features=lambda wc: path(
            "<features>/{part}.parquet",
            space=CFG.models[CFG.predictions[wc.prediction].model].train.features,
            part=wc.part,
        ),
        model=predicting_model,
    output:
        predictions=one_of("<predictions>/{part}.parquet", prediction=BY_PROBES),
    log:
        "<logs>/apply/{prediction}/{part}.log",
    benchmark:
        "<benchmarks>/apply/{prediction}/{part}.tsv"
    resources:
        **needs(NEEDS["apply"], predicted_galaxies),
    params:
        stage_version=STAGE_VERSIONS["apply"],
        settings=lambda wc: CFG.predictions[wc.prediction].settings().to_flags(),
    shell:
        "galaxymill apply {input.features:q} --model {input.model:q} "
        "--out {output.predictions:q} {params.settings} > {log:q} 2>&1"
