"""What volunteers were asked and how they answered: decision trees, vote tables, splits."""
