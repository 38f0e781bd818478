"""The page on which people rate galaxies, and the server behind it."""
