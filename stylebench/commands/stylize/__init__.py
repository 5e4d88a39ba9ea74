"""The command `stylize`: pictures, guides, and watching."""
