"""Rounds: what volunteers are asked next, what comes back, and which model is shipped."""
