"""Untrusted bytes decoded within bounds: pictures, FITS headers and samples."""
