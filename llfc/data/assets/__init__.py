"""The embedded data: a balanced subset of Fashion-MNIST, a text, and their licences."""
