"""The record of a run, and a release made again from it."""
