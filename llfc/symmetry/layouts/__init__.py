"""How the dimensions of tensors carry units."""
