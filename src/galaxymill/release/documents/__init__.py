"""What explains a release to people and machines."""
