"""The network and its preprocessing in C, as the compiled bundles hold them."""
