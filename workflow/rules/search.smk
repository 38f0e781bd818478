"""Searches: the galaxies that look most like some others."""


def search_files(wildcards):
    """The table, or the images, that a search is for, and the model that images go through."""
    search = CFG.searches[wildcards.search]
    name = CFG.predictions[CFG.search_prediction(wildcards.search)].model
    model = [path("<model>/model.yaml", model=name)] if search.image else []
    return [*map(str, search.input_files()), *model]


def searched_features(wildcards):
    """Features of every partition that is searched; their predictions are made by then."""
    survey = CFG.predictions[CFG.search_prediction(wildcards.search)].survey
    space = CFG.searches[wildcards.search].space
    return every_part("<features>/{part}.parquet", survey, space=space)


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
