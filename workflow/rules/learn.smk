"""From votes to models: labels, training, evaluation."""


rule collect_labels:
    """Check a table of votes and split its galaxies."""
    input:
        votes=lambda wc: str(CFG.labels[wc.labels].votes),
        tree=tree_of,
    output:
        votes="<labels>/votes.parquet",
    log:
        "<logs>/labels/{labels}.log",
    benchmark:
        "<benchmarks>/labels/{labels}.tsv"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        stage_version=STAGE_VERSIONS["labels"],
        object_id=lambda wc: CFG.labels[wc.labels].object_id,
        splits=lambda wc: CFG.labels[wc.labels].splits.to_flags(),
    shell:
        "galaxymill labels {input.votes:q} {input.tree:q} {output.votes:q} "
        "--object-id {params.object_id:q} {params.splits} > {log:q} 2>&1"


rule collect_label_images:
    """Gather the images of a labelled folder of files."""
    input:
        votes=lambda wc: str(CFG.labels[wc.labels].votes),
    output:
        images="<labels>/images.parquet",
    log:
        "<logs>/label_images/{labels}.log",
    benchmark:
        "<benchmarks>/label_images/{labels}.tsv"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        stage_version=STAGE_VERSIONS["labels"],
        folder=lambda wc: str(CFG.labels[wc.labels].images.folder),
        object_id=lambda wc: CFG.labels[wc.labels].object_id,
        size=lambda wc: CFG.labels[wc.labels].images.size,
    shell:
        "galaxymill label-images {input.votes:q} {params.folder:q} {output.images:q} "
        "--name {wildcards.labels} --object-id {params.object_id:q} --set size={params.size} "
        "> {log:q} 2>&1"


rule train_model:
    """Train a model on the votes and images of its labels."""
    input:
        votes=votes_of,
        images=labelled_images,
        description=image_description,
    output:
        model="<model>/model.yaml",
    log:
        "<logs>/train/{model}.log",
    benchmark:
        "<benchmarks>/train/{model}.tsv"
    threads: 16
    resources:
        mem_mb=4000,
        runtime=720,
    params:
        stage_version=STAGE_VERSIONS["train"],
        images=image_arguments,
        settings=lambda wc: CFG.models[wc.model].train.to_flags(),
    shell:
        "galaxymill train {input.votes:q} {params.images} {output.model:q} {params.settings} "
        "--threads {threads} > {log:q} 2>&1"


rule evaluate_model:
    """Compare a model with the volunteers' votes on the test split."""
    input:
        votes=votes_of,
        images=labelled_images,
        description=image_description,
        model="<model>/model.yaml",
    output:
        metrics="<evaluation>/metrics.json",
        page=report(
            "<evaluation>/report.html",
            caption="../report/evaluation.rst",
            category="Evaluation",
            subcategory="{model}",
            labels={"what": "the whole page"},
        ),
        gallery=report(
            "<evaluation>/gallery.png",
            caption="../report/gallery.rst",
            category="Evaluation",
            subcategory="{model}",
            labels={"what": "galaxies, predicted and observed"},
        ),
        calibration=report(
            "<evaluation>/calibration.png",
            caption="../report/calibration.rst",
            category="Evaluation",
            subcategory="{model}",
            labels={"what": "calibration"},
        ),
    log:
        "<logs>/evaluate/{model}.log",
    benchmark:
        "<benchmarks>/evaluate/{model}.tsv"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        stage_version=STAGE_VERSIONS["evaluate"],
        images=image_arguments,
    shell:
        "galaxymill evaluate {input.votes:q} {params.images} {input.model:q} {output.metrics:q} "
        "> {log:q} 2>&1"
