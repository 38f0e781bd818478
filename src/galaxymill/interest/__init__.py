"""What people find interesting: ratings, and a Gaussian process that learns from them."""
