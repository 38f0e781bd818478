"""Large images on disk or on a server: found, opened once, and squares cut out of them."""
