"""From a catalogue to images: simulate, ingest, partition, plan, fetch, render."""


rule simulate_sky:
    """Make a sky with known truth, and the votes of simulated volunteers."""
    input:
        tree=f"{TREES}/decals_dr5.yaml",
    output:
        catalog="<simulation>/catalog.parquet",
        truth="<simulation>/truth.parquet",
        votes="<simulation>/votes.parquet",
    log:
        "<logs>/simulate/{simulation}.log",
    benchmark:
        "<benchmarks>/simulate/{simulation}.tsv"
    resources:
        **needs(NEEDS["simulate"], simulated_galaxies),
    params:
        stage_version=STAGE_VERSIONS["simulate"],
        folder=lambda wc: path("<simulation>", simulation=wc.simulation),
        settings=lambda wc: CFG.simulations[wc.simulation].to_flags(),
    shell:
        "galaxymill simulate {params.folder:q} {input.tree:q} {params.settings} > {log:q} 2>&1"


rule ingest_catalog:
    """Check a survey's catalogue and put it in HEALPix order."""
    input:
        catalog=lambda wc: str(CFG.surveys[wc.survey].catalog.path),
    output:
        objects="<catalog>/objects.parquet",
    log:
        "<logs>/ingest/{survey}.log",
    benchmark:
        "<benchmarks>/ingest/{survey}.tsv"
    resources:
        **needs(NEEDS["ingest"]),
    params:
        stage_version=STAGE_VERSIONS["ingest"],
        settings=lambda wc: CFG.surveys[wc.survey].catalog.settings().to_flags(),
    shell:
        "galaxymill ingest {input.catalog:q} {output.objects:q} {params.settings} > {log:q} 2>&1"


checkpoint partition_catalog:
    """Cut the catalogue into tiles that never change; they lie beside the table."""
    input:
        objects="<catalog>/objects.parquet",
    output:
        partitions="<catalog>/partitions.csv",
    log:
        "<logs>/partition/{survey}.log",
    benchmark:
        "<benchmarks>/partition/{survey}.tsv"
    resources:
        **needs(NEEDS["partition"]),
    params:
        stage_version=STAGE_VERSIONS["partition"],
        most=lambda wc: CFG.surveys[wc.survey].partitions.galaxies_per_partition,
    shell:
        "galaxymill partition {input.objects:q} {output.partitions:q} "
        "--galaxies-per-partition {params.most} > {log:q} 2>&1"


rule plan_survey:
    """Count what a survey will cost, before anything is asked of a server."""
    input:
        partitions="<catalog>/partitions.csv",
    output:
        plan="<catalog>/plan.txt",
    log:
        "<logs>/plan/{survey}.log",
    localrule: True
    resources:
        **needs(NEEDS["plan"]),
    # Rates and limits too: who changes them wants another plan.
    params:
        stage_version=STAGE_VERSIONS["plan"],
        cutouts=lambda wc: CFG.surveys[wc.survey].cutouts.to_flags(),
        limits=lambda wc: CFG.operational_flags(wc.survey),
        images=lambda wc: CFG.surveys[wc.survey].images.plan_flags(),
        predictions=lambda wc: model_flags(CFG, wc.survey, TREES),
        rates=CFG.rates.to_flags("--rate"),
    shell:
        "galaxymill plan {input.partitions:q} {params.cutouts} {params.limits} {params.images} "
        "{params.predictions} {params.rates} 2> {log:q} | tee {output.plan:q}"


rule fetch_cutouts:
    """Fetch the cutouts of one partition."""
    input:
        tile=tile,
        files=cutout_files,
    output:
        cutouts="<cutouts>/{part}.parquet",
    log:
        "<logs>/fetch/{survey}/{part}.log",
    benchmark:
        "<benchmarks>/fetch/{survey}/{part}.tsv"
    resources:
        **{resource: host_slots(host) for host, resource in HOSTS.items()},
        **needs(fetch_need, partition_galaxies),
        operational=fetch_flags,
    params:
        stage_version=STAGE_VERSIONS["fetch"],
        cutouts=lambda wc: CFG.surveys[wc.survey].cutouts.to_flags(),
    shell:
        "galaxymill fetch {input.tile:q} {output.cutouts:q} {params.cutouts} "
        "{resources.operational} > {log:q} 2>&1"


rule render_images:
    """Render the image of every cutout of one partition."""
    input:
        cutouts="<cutouts>/{part}.parquet",
    output:
        images="<images>/{part}.parquet",
    log:
        "<logs>/render/{survey}/{part}.log",
    benchmark:
        "<benchmarks>/render/{survey}/{part}.tsv"
    threads: 2
    resources:
        **needs(NEEDS["render"], partition_galaxies),
    params:
        stage_version=STAGE_VERSIONS["render"],
        recipe_version=lambda wc: CFG.surveys[wc.survey].images.version,
        recipe=lambda wc: CFG.image_flags(wc.survey),
    shell:
        "galaxymill render {input.cutouts:q} {output.images:q} --survey {wildcards.survey} "
        "{params.recipe} --threads {threads} > {log:q} 2>&1"


rule list_images:
    """List the images of a survey; training waits for them by this list."""
    input:
        images=survey_images,
    output:
        images="<survey>/images.csv",
    log:
        "<logs>/list_images/{survey}.log",
    localrule: True
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        stage_version=STAGE_VERSIONS["render"],
        partitions=lambda wc: path("<catalog>/partitions.csv", survey=wc.survey),
        folder=lambda wc: path("<images>", survey=wc.survey),
    shell:
        "galaxymill list-images {params.partitions:q} {params.folder:q} {output.images:q} "
        "> {log:q} 2>&1"


rule describe_images:
    """Write down how a survey's images are made: when that changes, models learn anew."""
    output:
        description="<survey>/images.json",
    log:
        "<logs>/describe_images/{survey}.log",
    localrule: True
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        versions=lambda wc: versions_of_images(wc.survey),
        cutouts=described_cutouts,
        images=lambda wc: CFG.image_flags(wc.survey),
    shell:
        "galaxymill describe-images {output.description:q} --survey {wildcards.survey} "
        "--cutouts {params.cutouts:q} --images {params.images:q} --versions {params.versions:q} "
        "> {log:q} 2>&1"
