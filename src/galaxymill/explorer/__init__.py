"""An explorer: a folder with a page that opens from disk, and what it shows of a release.

`slices` makes one partition's slice, `build` joins them; `coding` says how values become bytes,
`folder` what lies where in the folder; ``page/`` is the page itself.
"""
