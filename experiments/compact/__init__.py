"""The recipe of the encoders that ship with the package."""
