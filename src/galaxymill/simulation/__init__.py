"""The demo sky: galaxies with known truth, simulated volunteers, and a cutout service on this host.

`sky` draws what exists, `morphology` and `galaxies` what a telescope sees of it, `volunteers` what
people answer about that, and `server` hands out the images as the Legacy Surveys viewer does.
"""
