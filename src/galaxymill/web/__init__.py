"""One polite HTTP client for all that is asked over the network; it knows nothing of galaxies."""
