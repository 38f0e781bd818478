"""Geometry of the sky: HEALPix pixels, unit vectors, separations."""
