"""What people find interesting: learned from ratings, predicted for every galaxy, and reported."""


rule interests:
    """Make everything of each interest that galaxies are rated for."""
    input:
        every_interest,
    localrule: True


rule fit_interest:
    """Learn from ratings. The list of features is `ancient`, so that new galaxies learn nothing
    anew; new ratings or another space do."""
    input:
        ratings=ratings_of,
        features=lambda wc: ancient(
            path("<features>/features.csv", space=CFG.interests[wc.interest].space)
        ),
        space=interest_space,
    output:
        interest="<interest>/interest.yaml",
    log:
        "<logs>/interest/{interest}.log",
    benchmark:
        "<benchmarks>/interest/{interest}.tsv"
    resources:
        **needs(NEEDS["interest"]),
    params:
        stage_version=STAGE_VERSIONS["interest"],
        ratings=rating_flags,
    shell:
        "galaxymill fit-interest {output.interest:q} {params.ratings} "
        "--features {input.features:q} --space {input.space:q} > {log:q} 2>&1"


rule rate_partition:
    """Say of every galaxy of one partition how interesting it may be."""
    input:
        features=lambda wc: path(
            "<features>/{part}.parquet", space=CFG.interests[wc.interest].space, part=wc.part
        ),
        interest="<interest>/interest.yaml",
    output:
        rated="<rated>/{part}.parquet",
    log:
        "<logs>/rate/{interest}/{part}.log",
    benchmark:
        "<benchmarks>/rate/{interest}/{part}.tsv"
    resources:
        **needs(NEEDS["rate"], rated_galaxies),
    params:
        stage_version=STAGE_VERSIONS["rate"],
    shell:
        "galaxymill rate-partition {input.features:q} --interest {input.interest:q} "
        "--out {output.rated:q} > {log:q} 2>&1"


rule report_interest:
    """Show what was found, what each rater likes, and how far they agree."""
    input:
        rated=lambda wc: every_rated_of([wc.interest]),
        ratings=ratings_of,
        space=interest_space,
        interest="<interest>/interest.yaml",
    output:
        page=report(
            "<interesting>/report.html",
            caption="../report/interest.rst",
            category="Interests",
            subcategory="{interest}",
            labels={"what": "the whole page"},
        ),
    log:
        "<logs>/interesting/{interest}.log",
    benchmark:
        "<benchmarks>/interesting/{interest}.tsv"
    resources:
        **needs(NEEDS["interesting"]),
    params:
        stage_version=STAGE_VERSIONS["interesting"],
        ratings=rating_flags,
        rated=lambda wc: path("<rated>", interest=wc.interest),
    shell:
        "galaxymill report-interest {output.page:q} {params.ratings} "
        "--interest {input.interest:q} --rated {params.rated:q} --space {input.space:q} "
        "> {log:q} 2>&1"
