"""Networks: an encoder, a Dirichlet head for a tree, their loss, and how they lie on disk."""
