"""Search: the galaxies of a survey that look most like some others, by their features."""
