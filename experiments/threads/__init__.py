"""How the wait of OpenMP's threads weighs on training, alone and on a busy machine."""
