"""From embeddings to spaces of features: fit, project, and show the maps."""


rule features:
    """Fit every space, give every galaxy its features and places on maps, and show these."""
    input:
        every_feature,
        MAPS,
    localrule: True


rule list_embeddings:
    """List the embeddings of a prediction; spaces wait for them by this list."""
    input:
        embeddings=lambda wc: every_part(
            "<embeddings>/{part}.parquet",
            CFG.predictions[wc.prediction].survey,
            prediction=wc.prediction,
        ),
    output:
        embeddings="<embeddings>/embeddings.csv",
    log:
        "<logs>/list_embeddings/{prediction}.log",
    localrule: True
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        stage_version=STAGE_VERSIONS["predict"],
        partitions=lambda wc: path(
            "<catalog>/partitions.csv", survey=CFG.predictions[wc.prediction].survey
        ),
        folder=lambda wc: path("<embeddings>", prediction=wc.prediction),
    shell:
        "galaxymill list-images {params.partitions:q} {params.folder:q} {output.embeddings:q} "
        "> {log:q} 2>&1"


rule describe_embeddings:
    """Write down what embeddings depend on: when that changes, spaces are fitted anew."""
    input:
        model=predicting_model,
    output:
        description="<embeddings>/embeddings.json",
    log:
        "<logs>/describe_embeddings/{prediction}.log",
    localrule: True
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        versions=f"predict {STAGE_VERSIONS['predict']}",
        settings=lambda wc: json.dumps(CFG.predictions[wc.prediction].settings().embedding()),
    shell:
        "galaxymill describe-embeddings {output.description:q} --model {input.model:q} "
        "--settings {params.settings:q} --versions {params.versions:q} > {log:q} 2>&1"


rule fit_space:
    """Fit a space of features, and its maps, to a sample of a survey. The list is ancient, so that
    new galaxies move no old one; another model or other images fit it anew."""
    input:
        embeddings=lambda wc: ancient(
            path("<embeddings>/embeddings.csv", prediction=CFG.spaces[wc.space].predictions)
        ),
        kind=lambda wc: path(
            "<embeddings>/embeddings.json", prediction=CFG.spaces[wc.space].predictions
        ),
        images=lambda wc: path("<survey>/images.json", survey=space_prediction(wc).survey),
    output:
        space="<space>/space.yaml",
    log:
        "<logs>/space/{space}.log",
    benchmark:
        "<benchmarks>/space/{space}.tsv"
    threads: 2
    resources:
        **needs(NEEDS["space"]),
        operational=lambda wc: CFG.spaces[wc.space].settings().operational_flags(),
    params:
        stage_version=STAGE_VERSIONS["space"],
        folders=space_folders,
        settings=lambda wc: CFG.spaces[wc.space].settings().to_flags(),
    shell:
        "galaxymill space {output.space:q} {input.embeddings:q} {params.folders} "
        "{params.settings} {resources.operational} --threads {threads} > {log:q} 2>&1"


rule project_partition:
    """Give every galaxy of one partition its features and its places on maps."""
    input:
        embeddings=lambda wc: path(
            "<embeddings>/{part}.parquet",
            prediction=CFG.spaces[wc.space].predictions,
            part=wc.part,
        ),
        predictions=lambda wc: path(
            "<predictions>/{part}.parquet",
            prediction=CFG.spaces[wc.space].predictions,
            part=wc.part,
        ),
        space="<space>/space.yaml",
    output:
        features="<features>/{part}.parquet",
    log:
        "<logs>/project/{space}/{part}.log",
    benchmark:
        "<benchmarks>/project/{space}/{part}.tsv"
    resources:
        **needs(NEEDS["project"]),
    params:
        stage_version=STAGE_VERSIONS["project"],
    shell:
        "galaxymill project {output.features:q} {input.embeddings:q} {input.predictions:q} "
        "--space {input.space:q} > {log:q} 2>&1"


rule report_maps:
    """Show the maps of a space on a page, when every galaxy has its place. The catalogue is ancient:
    what is new in it comes with its partition."""
    input:
        features=lambda wc: every_part(
            "<features>/{part}.parquet", space_prediction(wc).survey, space=wc.space
        ),
        embeddings=lambda wc: path(
            "<embeddings>/embeddings.csv", prediction=CFG.spaces[wc.space].predictions
        ),
        catalog=lambda wc: ancient(
            path("<catalog>/objects.parquet", survey=space_prediction(wc).survey)
        ),
        space="<space>/space.yaml",
    output:
        page=report(
            "<maps>/report.html",
            caption="../report/maps.rst",
            category="Maps",
            subcategory="{space}",
            labels={"what": "the whole page"},
        ),
    log:
        "<logs>/map/{space}.log",
    benchmark:
        "<benchmarks>/map/{space}.tsv"
    resources:
        **needs(NEEDS["map"]),
    params:
        stage_version=STAGE_VERSIONS["map"],
        folders=map_folders,
    shell:
        "galaxymill map {output.page:q} {input.embeddings:q} {params.folders} "
        "--catalog {input.catalog:q} --space {input.space:q} > {log:q} 2>&1"
