"""Where cutouts come from: one module a service behind one protocol, and the stage that asks."""
