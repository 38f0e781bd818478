"""Probes: small models on features, which learn in seconds from few labels."""
