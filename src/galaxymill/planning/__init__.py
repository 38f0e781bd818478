"""Estimates of the jobs, time and disk that a run needs."""
