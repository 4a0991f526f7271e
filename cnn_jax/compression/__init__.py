"""From a trained network to the smallest file, and back (Han et al. 2016, arXiv:1510.00149)."""
