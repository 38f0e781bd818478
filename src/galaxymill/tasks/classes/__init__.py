"""One of some classes."""
