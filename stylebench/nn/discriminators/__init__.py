"""Networks that judge images."""
