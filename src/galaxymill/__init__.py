"""Galaxymill: from a sky survey to a catalogue of galaxy morphology."""

__version__ = "0.1.0"
