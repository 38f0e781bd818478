"""The tables of a release: rows joined, checked, and written in every format."""
