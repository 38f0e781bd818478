"""Learning from votes."""
