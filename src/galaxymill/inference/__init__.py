"""Predictions with their uncertainty, partition by partition."""
