"""Releases: prove that every galaxy is there once, then write the tables an astronomer opens.

`galaxymill.release.merge.merge_release` is the stage; `columns` is the registry of what a
release holds, from which the schemas, ``columns.csv`` and the README's table all come.
"""
