"""Training of generators: from a packed data set to a run with checkpoints and a model file."""
