"""A survey's catalogue: checked once, then cut into partitions that never change."""
