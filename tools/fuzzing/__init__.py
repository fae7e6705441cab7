"""What tools/fuzz runs: targets with their seed files, mutations by format, and the state of a target."""
