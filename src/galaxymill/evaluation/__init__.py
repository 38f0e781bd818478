"""How good a model is: its vote fractions and intervals against volunteers' and baselines'."""
