"""How a galaxy would look elsewhere: smaller and fainter, through other seeing, on another sky."""
