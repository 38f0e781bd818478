"""How far a run has come, from its products and logs alone: no daemon, no record of its own."""
