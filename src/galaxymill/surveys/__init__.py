"""Where cutouts come from: one module for each service, and the stage that fetches them."""
