"""From images and a model to a release: predict, merge."""


include: "detectability.smk"


rule predictions:
    """Predict every survey with every model that the config names for it; release nothing."""
    input:
        lambda wildcards: every_prediction(CFG.predictions),
    localrule: True


rule predict_partition:
    """Predict the posterior morphology of every galaxy of one partition."""
    input:
        images=predicted_images,
        model=predicting_model,
    output:
        predictions=one_of("<predictions>/{part}.parquet", prediction=BY_NETWORKS),
        embeddings="<embeddings>/{part}.parquet",
    log:
        "<logs>/predict/{prediction}/{part}.log",
    benchmark:
        "<benchmarks>/predict/{prediction}/{part}.tsv"
    threads: 16
    resources:
        **needs(NEEDS["predict"], predicted_galaxies),
        gres=predict_gpu,
        operational=lambda wc: CFG.predictions[wc.prediction].settings().operational_flags(),
    params:
        stage_version=STAGE_VERSIONS["predict"],
        settings=lambda wc: CFG.predictions[wc.prediction].settings().to_flags(),
    shell:
        "galaxymill predict {input.images:q} --model {input.model:q} "
        "--out {output.predictions:q} --embeddings {output.embeddings:q} {params.settings} "
        "{resources.operational} --threads {threads} > {log:q} 2>&1"


rule record_run:
    """Write down what a release is made from; the config itself changes no table."""
    input:
        partitions=lambda wc: ancient(
            path("<catalog>/partitions.csv", survey=CFG.release_survey(wc.release))
        ),
        files=lambda wc: list(map(str, RUNS[wc.release].files)),
    output:
        config="<run>/config.yaml",
    log:
        "<logs>/record_run/{release}.log",
    localrule: True
    resources:
        mem_mb=1000,
        runtime=30,
        config=lambda wc: RUNS[wc.release].config,
    params:
        settings=lambda wc: RUNS[wc.release].settings,
        workflow=BASE,
    shell:
        "galaxymill record-run {output.config:q} --release {wildcards.release} "
        "--config {resources.config:q} --workflow {params.workflow:q} > {log:q} 2>&1"


rule merge_release:
    """Merge a survey's products into a release; its checksums are written last."""
    input:
        partitions=lambda wc: path(
            "<catalog>/partitions.csv", survey=CFG.release_survey(wc.release)
        ),
        objects=lambda wc: path("<catalog>/objects.parquet", survey=CFG.release_survey(wc.release)),
        cutouts=release_parts("<cutouts>/{part}.parquet"),
        images=release_parts("<images>/{part}.parquet"),
        predictions=lambda wc: every_prediction(CFG.releases[wc.release].predictions),
        features=lambda wc: every_feature_of(CFG.releases[wc.release].maps),
        rated=lambda wc: every_rated_of(CFG.releases[wc.release].interests),
        detectability=detectability_file,
        models=release_models,
        metrics=release_metrics,
        run="<run>/config.yaml",
    output:
        sums="<release>/SHA256SUMS",
    log:
        "<logs>/release/{release}.log",
    benchmark:
        "<benchmarks>/release/{release}.tsv"
    threads: 2
    resources:
        **needs(NEEDS["release"], released_galaxies),
    params:
        stage_version=STAGE_VERSIONS["release"],
        folders=spelt(release_products, release_files, release_detectability),
        settings=lambda wc: CFG.releases[wc.release].settings().to_flags(),
        benchmarks=path("<benchmarks>"),
    shell:
        "galaxymill release {input.partitions:q} {output.sums:q} --name {wildcards.release} "
        "{params.folders} --run {input.run:q} "
        "--benchmarks {params.benchmarks:q} {params.settings} --threads {threads} > {log:q} 2>&1"
