"""From the archives: files that others have published."""


rule download_file:
    """Download a published file; whoever names it as a path waits for it."""
    output:
        file="<downloads>/{file}",
    log:
        "<logs>/download/{file}.log",
    benchmark:
        "<benchmarks>/download/{file}.tsv"
    # Files of other names are nobody's product.
    wildcard_constraints:
        file="|".join(map(re.escape, CFG.downloads)) or r"(?!)",
    resources:
        **needs(NEEDS["download"]),
        operational=lambda wc: f"--bytes {CFG.downloads[wc.file].bytes}",
    params:
        stage_version=STAGE_VERSIONS["download"],
        url=lambda wc: CFG.downloads[wc.file].url,
        checksum=lambda wc: CFG.downloads[wc.file].checksum_flags(),
    shell:
        "galaxymill download {params.url:q} {output.file:q} {params.checksum} "
        "{resources.operational} > {log:q} 2>&1"
