"""The subjects of a round on their way to volunteers: written as files, and uploaded."""

OBJECT_ID = "#object_id"
"""Key of a subject's metadata that holds the galaxy's name; ``#`` hides it from volunteers."""

RECEIPTS = "receipts.csv"
"""What was uploaded, beside the manifest."""
