"""Images to images: each method's way to use what it learned."""
