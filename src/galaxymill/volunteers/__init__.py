"""Volunteers as individuals: bias, skill and care of each, and what a careful crowd would say."""
