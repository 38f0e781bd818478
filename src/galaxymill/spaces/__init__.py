"""Spaces: a few features of each galaxy, in which those that look alike are near each other."""
