"""A number, such as a redshift."""
