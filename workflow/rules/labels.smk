"""From volunteers' votes to labels."""


rule collect_labels:
    """Check the votes of a labelled set, add them up and split its galaxies."""
    input:
        votes=label_files,
        tree=tree_of,
        files=label_settings_files,
        catalog=labelled_catalog,
    output:
        votes="<labels>/votes.parquet",
        sources="<labels>/sources.parquet",
        dropped="<labels>/dropped.csv",
    log:
        "<logs>/labels/{labels}.log",
    benchmark:
        "<benchmarks>/labels/{labels}.tsv"
    # Before anything is fetched: these tables may be of other galaxies than the catalogue.
    priority: 1
    resources:
        **needs(NEEDS["labels"]),
        operational=label_paths,
    params:
        stage_version=STAGE_VERSIONS["labels"],
        settings=lambda wc: CFG.labels[wc.labels].to_flags(),
    shell:
        "galaxymill labels {output.votes:q} {input.votes:q} {resources.operational} "
        "{params.settings} > {log:q} 2>&1"


rule collect_label_images:
    """Gather the images of a labelled folder of files."""
    input:
        votes=label_files,
    output:
        images="<labels>/images.parquet",
    log:
        "<logs>/label_images/{labels}.log",
    benchmark:
        "<benchmarks>/label_images/{labels}.tsv"
    resources:
        **needs(NEEDS["labels"]),
    params:
        stage_version=STAGE_VERSIONS["labels"],
        folder=lambda wc: str(CFG.labels[wc.labels].images.folder),
        object_id=lambda wc: CFG.labels[wc.labels].settings.object_id,
        settings=lambda wc: CFG.labels[wc.labels].images.to_flags(),
    shell:
        "galaxymill label-images {output.images:q} {params.folder:q} {input.votes:q} "
        "--name {wildcards.labels} --object-id {params.object_id:q} {params.settings} > {log:q} 2>&1"
