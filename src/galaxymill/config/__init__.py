"""The config: frozen models that say what may stand in it, and refuse the rest."""
