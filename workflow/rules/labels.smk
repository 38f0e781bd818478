"""From volunteers' votes to labels."""

# Labelled sets whose files say who gave which answer, and the others.
INDIVIDUALS = [name for name, one in CFG.labels.items() if one.has_individuals]
COUNTED = [name for name in CFG.labels if name not in INDIVIDUALS]


rule collect_labels:
    """Check the votes of a labelled set, add them up and split its galaxies."""
    input:
        votes=label_files,
        tree=tree_of,
        files=label_settings_files,
        catalog=labelled_catalog,
    output:
        votes=one_of("<labels>/votes.parquet", labels=COUNTED),
        sources=one_of("<labels>/sources.parquet", labels=COUNTED),
        dropped=one_of("<labels>/dropped.csv", labels=COUNTED),
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


use rule collect_labels as collect_answers with:
    output:
        votes=one_of("<labels>/votes.parquet", labels=INDIVIDUALS),
        sources=one_of("<labels>/sources.parquet", labels=INDIVIDUALS),
        dropped=one_of("<labels>/dropped.csv", labels=INDIVIDUALS),
        answers=one_of("<labels>/answers.parquet", labels=INDIVIDUALS),


rule volunteers:
    """Learn the volunteers of every labelled set that says who they are, and report on them."""
    input:
        paths("<labels>/volunteers/report.html", labels=INDIVIDUALS),
    localrule: True


rule fit_volunteers:
    """Learn what each volunteer is like, and what careful ones would say of each galaxy."""
    input:
        answers="<labels>/answers.parquet",
        votes="<labels>/votes.parquet",
    output:
        volunteers="<labels>/volunteers.parquet",
        individual="<labels>/individual.parquet",
    log:
        "<logs>/volunteers/{labels}.log",
    benchmark:
        "<benchmarks>/volunteers/{labels}.tsv"
    threads: 2
    resources:
        **needs(NEEDS["volunteers"]),
    params:
        stage_version=STAGE_VERSIONS["volunteers"],
    shell:
        "galaxymill volunteers fit {output.individual:q} --answers {input.answers:q} "
        "--votes {input.votes:q} > {log:q} 2>&1"


rule report_volunteers:
    """Show how many volunteers there are, what they are like, and what that changes."""
    input:
        individual="<labels>/individual.parquet",
        volunteers="<labels>/volunteers.parquet",
        answers="<labels>/answers.parquet",
        votes="<labels>/votes.parquet",
    output:
        page="<labels>/volunteers/report.html",
    log:
        "<logs>/volunteers/{labels}_report.log",
    params:
        stage_version=STAGE_VERSIONS["volunteers"],
    shell:
        "galaxymill volunteers report {output.page:q} --individual {input.individual:q} "
        "> {log:q} 2>&1"


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
