"""Pure tensor maths: statistics of feature maps, losses, rendered pictures."""
