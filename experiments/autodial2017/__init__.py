"""AutoDIAL (Carlucci et al. 2017): what its layer costs."""
