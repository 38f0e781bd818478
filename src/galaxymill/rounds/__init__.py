"""Rounds: which galaxies volunteers are asked about, and whether what they said made it better."""
