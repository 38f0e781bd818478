"""From labels to models: training, encoders alone, evaluation."""


rule train_model:
    """Train a model on the votes and images of its labels."""
    input:
        votes=learned_votes,
        images=labelled_images,
        descriptions=image_descriptions,
        weights=initial_model,
    output:
        model=one_of("<model>/model.yaml", model=TRAINED),
    log:
        "<logs>/train/{model}.log",
    benchmark:
        "<benchmarks>/train/{model}.tsv"
    threads: 16
    resources:
        **needs(train_need, labelled_galaxies),
        gres=train_gpus,
        nodes=lambda wc: CFG.models[wc.model].train.nodes,
        tasks=lambda wc: CFG.models[wc.model].train.tasks,
        tasks_per_node=lambda wc: CFG.models[wc.model].train.tasks_per_node,
        tasks_per_gpu=0,  # not said: else the SLURM plugin takes tasks for it
        mpi=lambda wc, threads: CFG.models[wc.model].train.launcher(threads),
        operational=lambda wc: CFG.models[wc.model].train.operational_flags(),
    params:
        stage_version=STAGE_VERSIONS["train"],
        training_flags=training_flags,
        settings=lambda wc: CFG.models[wc.model].train.to_flags(),
        tensorboard=lambda wc: path("<logs>/train/{model}", model=wc.model),
    shell:
        "{resources.mpi} galaxymill train {output.model:q} {params.training_flags} "
        "{params.settings} {resources.operational} "
        "--threads {threads} --tensorboard {params.tensorboard:q} > {log:q} 2>&1"


rule take_encoder:
    """Take an encoder as it was published: a model whose predictions are embeddings."""
    input:
        weights=initial_model,
    output:
        model=one_of("<model>/model.yaml", model=ENCODERS),
    log:
        "<logs>/train/{model}.log",
    benchmark:
        "<benchmarks>/train/{model}.tsv"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        stage_version=STAGE_VERSIONS["train"],
        settings=lambda wc: CFG.models[wc.model].to_flags(),
    shell:
        "galaxymill encoder {output.model:q} {params.settings} > {log:q} 2>&1"


rule evaluate_model:
    """Compare a model with the labels of galaxies that it has not learned from."""
    input:
        votes=votes_of,
        images=labelled_images,
        descriptions=image_descriptions,
        model=lambda wc: path("<model>/model.yaml", model=EVALUATED[wc.evaluation].model),
        catalogs=labelled_catalogs,
        truth=simulated_truth,
        features=features_list,
    output:
        metrics="<evaluation>/metrics.json",
        page=report_item("report.html", "evaluation", "1. the whole page"),
        table=report_item("metrics.csv", "metrics", "2. table of errors"),
        errors=report_item("errors.png", "errors", "3. errors and baselines"),
        predictions=report_item("predictions.png", "predictions", "4. predicted and observed"),
        calibration=report_item("calibration.png", "calibration", "5. calibration"),
        errors_by=report_item("errors_by.png", "errors_by", "6. errors by magnitude, size, votes"),
        gallery=report_item("gallery.png", "gallery", "7. galaxies at random"),
        best=report_item("gallery_best.png", "gallery", "8. galaxies predicted best"),
        worst=report_item("gallery_worst.png", "gallery", "9. galaxies predicted worst"),
        uncertain=report_item("gallery_uncertain.png", "gallery", "10. most uncertain galaxies"),
        coverages="<evaluation>/calibration.csv",
        errors_by_table="<evaluation>/errors_by.csv",
    log:
        "<logs>/evaluate/{evaluation}.log",
    benchmark:
        "<benchmarks>/evaluate/{evaluation}.tsv"
    threads: 16
    resources:
        **needs(NEEDS["evaluate"], labelled_galaxies),
        gres=evaluate_gpu,
        operational=lambda wc: EVALUATED[wc.evaluation].settings.operational_flags(),
    params:
        stage_version=STAGE_VERSIONS["evaluate"],
        training_flags=training_flags,
        known=evaluation_flags,
        settings=lambda wc: EVALUATED[wc.evaluation].settings.to_flags(),
    shell:
        "galaxymill evaluate {output.metrics:q} {params.training_flags} --model {input.model:q} "
        "{params.known} {params.settings} {resources.operational} --threads {threads} > {log:q} 2>&1"
