"""Domains of images, packing, and tasks that draw batches from them."""
