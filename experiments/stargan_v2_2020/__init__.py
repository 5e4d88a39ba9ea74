"""StarGAN v2 (Choi et al. 2020): what the ways to take its phases cost."""
