"""Archives that speak the protocols of the Virtual Observatory: SIA2, TAP, DataLink, SODA."""
