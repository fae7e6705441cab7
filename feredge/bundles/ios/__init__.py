"""The iOS bundle: the network as a Core ML package, and a Swift package around it."""
