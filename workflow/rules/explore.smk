"""From a release to a page that opens from a folder: a slice a partition, then all together."""


rule explorers:
    """Make every explorer: a folder with a page that opens from disk."""
    input:
        EXPLORERS,
    localrule: True


rule explore_partition:
    """Make one partition's slice of an explorer. The catalogue is ancient, so that new galaxies
    make no old slice again; the columns that are kept of it are a param."""
    input:
        parts=explored_parts,
        partitions=lambda wc: ancient(
            path("<catalog>/partitions.csv", survey=CFG.release_survey(released(wc)))
        ),
        objects=lambda wc: ancient(
            path("<catalog>/objects.parquet", survey=CFG.release_survey(released(wc)))
        ),
        detectability=detectability_file,
        models=release_models,
    output:
        slice="<slices>/{part}.parquet",
    log:
        "<logs>/explore/{explorer}/{part}.log",
    benchmark:
        "<benchmarks>/explore/{explorer}/{part}.tsv"
    resources:
        **needs(NEEDS["explore"], explored_galaxies),
    params:
        stage_version=STAGE_VERSIONS["explore"],
        kept=lambda wc: ",".join(CFG.surveys[CFG.release_survey(released(wc))].catalog.keep),
        folders=spelt(release_products, explored_spaces, explored_models, release_detectability),
        settings=lambda wc: CFG.explorers[wc.explorer].settings().slice_flags(),
        release=lambda wc: CFG.releases[released(wc)].settings().shown_flags(),
    shell:
        "galaxymill explore-partition {wildcards.part} {input.partitions:q} {output.slice:q} "
        "{params.folders} {params.settings} {params.release} > {log:q} 2>&1"


rule build_explorer:
    """Join the slices of a release, and put the page beside them; index.html is written last."""
    input:
        slices=lambda wc: every_part(
            "<slices>/{part}.parquet", CFG.release_survey(released(wc)), explorer=wc.explorer
        ),
        partitions=lambda wc: path(
            "<catalog>/partitions.csv", survey=CFG.release_survey(released(wc))
        ),
        release=lambda wc: path("<release>/SHA256SUMS", release=released(wc)),
        models=release_models,
        metrics=release_metrics,
    output:
        page="<explorer>/index.html",
    log:
        "<logs>/explorer/{explorer}.log",
    benchmark:
        "<benchmarks>/explorer/{explorer}.tsv"
    resources:
        **needs(NEEDS["explorer"], shown_galaxies),
    params:
        stage_version=STAGE_VERSIONS["explorer"],
        slices=lambda wc: path("<slices>", explorer=wc.explorer),
        files=spelt(release_files),
        settings=lambda wc: CFG.explorers[wc.explorer].settings().to_flags(),
    shell:
        "galaxymill build-explorer {input.release:q} {input.partitions:q} {params.slices:q} "
        "{output.page:q} {params.files} {params.settings} > {log:q} 2>&1"
