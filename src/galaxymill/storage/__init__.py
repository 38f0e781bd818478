"""How products reach the disk: locked, atomic, keyed by content, each knowing its origin."""
