"""One module a cutout service; `galaxymill.surveys.registry` knows them by name."""
