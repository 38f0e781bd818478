"""Two morphology catalogues side by side: galaxies matched, columns compared.

`galaxymill.comparison.compare.compare` is the command; `layouts` is the registry of the published
catalogues known by name.
"""
