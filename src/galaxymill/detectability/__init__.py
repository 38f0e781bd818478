"""What is still seen of galaxies that are smaller, fainter or farther away."""
