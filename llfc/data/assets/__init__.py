"""The embedded data set: a balanced subset of Fashion-MNIST, and its licence."""
