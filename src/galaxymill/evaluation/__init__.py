"""Evaluation of a model on labelled galaxies, beside baselines."""
