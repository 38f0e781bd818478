"""Releases: prove that every galaxy is there once, then write the tables an astronomer opens.

`galaxymill.release.merge.merge_release` is the stage. `sources` and `inspection` look at what
comes in, `columns` is the registry of what a release holds, `tables` writes it, `audit` counts
it, `documents` explains it, and `reproduction` records the run and makes it again.
"""
