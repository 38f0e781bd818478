"""Searches: the galaxies that look most like some others."""


rule searches:
    """Find the galaxies that are most like those of each search."""
    input:
        SEARCHES,
    localrule: True


rule search_galaxies:
    """Find the galaxies that look most like some others: a table, and sheets of the first."""
    input:
        features=searched_features,
        space=lambda wc: path("<space>/space.yaml", space=CFG.searches[wc.search].space),
        files=search_files,
    output:
        table="<search>/nearest.csv",
        sheet="<search>/nearest.png",
        page="<search>/nearest.html",
    log:
        "<logs>/similar/{search}.log",
    benchmark:
        "<benchmarks>/similar/{search}.tsv"
    threads: 2
    resources:
        **needs(NEEDS["similar"], searched_galaxies),
    params:
        stage_version=STAGE_VERSIONS["similar"],
        query=lambda wc: CFG.searches[wc.search].settings().to_flags(),
    shell:
        "galaxymill similar {output.table:q} --space {input.space:q} {params.query} "
        "> {log:q} 2>&1"
