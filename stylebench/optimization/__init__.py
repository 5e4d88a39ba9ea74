"""Images as parameters: objective, loop and style losses."""
