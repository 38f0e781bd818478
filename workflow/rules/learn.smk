"""From labels to models: training, evaluation."""


rule train_model:
    """Train a model on the votes and images of its labels."""
    input:
        votes=votes_of,
        images=labelled_images,
        descriptions=image_descriptions,
        weights=initial_model,
    output:
        model="<model>/model.yaml",
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
        learned_from=learned_from,
        settings=lambda wc: CFG.models[wc.model].train.to_flags(),
        tensorboard=lambda wc: path("<logs>/train/{model}", model=wc.model),
    shell:
        "{resources.mpi} galaxymill train {output.model:q} {params.learned_from} "
        "{params.settings} {resources.operational} "
        "--threads {threads} --tensorboard {params.tensorboard:q} > {log:q} 2>&1"


rule evaluate_model:
    """Compare a model with the labels of galaxies that it has not learned from."""
    input:
        votes=votes_of,
        images=labelled_images,
        descriptions=image_descriptions,
        model=lambda wc: path("<model>/model.yaml", model=EVALUATED[wc.evaluation].model),
        catalogs=labelled_catalogs,
        truth=simulated_truth,
    output:
        metrics="<evaluation>/metrics.json",
        page=shown("report.html", "evaluation", "1. the whole page"),
        table=shown("metrics.csv", "metrics", "2. table of errors"),
        errors=shown("errors.png", "errors", "3. errors and baselines"),
        predictions=shown("predictions.png", "predictions", "4. predicted and observed"),
        calibration=shown("calibration.png", "calibration", "5. calibration"),
        errors_by=shown("errors_by.png", "errors_by", "6. errors by magnitude, size, votes"),
        gallery=shown("gallery.png", "gallery", "7. galaxies at random"),
        best=shown("gallery_best.png", "gallery", "8. galaxies predicted best"),
        worst=shown("gallery_worst.png", "gallery", "9. galaxies predicted worst"),
        uncertain=shown("gallery_uncertain.png", "gallery", "10. most uncertain galaxies"),
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
        learned_from=learned_from,
        known=what_is_known,
        settings=lambda wc: EVALUATED[wc.evaluation].settings.to_flags(),
    shell:
        "galaxymill evaluate {output.metrics:q} {params.learned_from} --model {input.model:q} "
        "{params.known} {params.settings} {resources.operational} --threads {threads} > {log:q} 2>&1"
