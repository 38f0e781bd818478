"""Status of a run, from its products, locks and logs."""
