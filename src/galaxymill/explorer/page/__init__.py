"""The page: plain scripts, a style and markup, copied as they are."""
