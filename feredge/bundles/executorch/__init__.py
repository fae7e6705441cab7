"""The ExecuTorch bundle: the network as a `.pte` program for the XNNPACK backend."""
