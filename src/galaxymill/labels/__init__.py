"""Labels: one reader a format, checks, and the product that models learn from."""
