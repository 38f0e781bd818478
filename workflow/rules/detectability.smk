"""From near and far predictions to how much of each answer is still seen."""


include: "inputs_detectability.smk"


wildcard_constraints:
    detectability=r"[\w-]+",


rule fit_detectability:
    """Learn how much of each answer is still seen of the same galaxies farther away."""
    input:
        predictions=compared_predictions,
        votes=compared_votes,
        objects=lambda wc: path(
            "<catalog>/objects.parquet", survey=near_survey(CFG, wc.detectability)
        ),
    output:
        table="<detectability>/detectability.parquet",
        page=report(
            "<detectability>/report.html",
            caption="../report/detectability.rst",
            category="Detectability",
            subcategory="{detectability}",
            labels={"what": "the whole page"},
        ),
    log:
        "<logs>/detectability/{detectability}.log",
    benchmark:
        "<benchmarks>/detectability/{detectability}.tsv"
    resources:
        **needs(NEEDS["detectability"]),
    params:
        stage_version=STAGE_VERSIONS["detectability"],
        compared=spelt(compared_options),
        settings=lambda wc: CFG.detectability[wc.detectability].settings().to_flags(),
    shell:
        "galaxymill detectability {output.table:q} --objects {input.objects:q} {params.compared} "
        "{params.settings} > {log:q} 2>&1"
