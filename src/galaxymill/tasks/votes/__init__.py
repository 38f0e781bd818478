"""Votes of volunteers on a decision tree."""
