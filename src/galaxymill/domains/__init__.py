"""How images of two surveys differ, measured on the galaxies themselves."""
