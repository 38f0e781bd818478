"""Statistics of predictions beside labels: intervals, calibration, scores, baselines."""
