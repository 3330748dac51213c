"""Small generic parts on Trio, and the seams (network, clock, threads, randomness, disk) that simulation replaces."""
