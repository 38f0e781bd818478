"""Figures, tables and pages for people to read."""
