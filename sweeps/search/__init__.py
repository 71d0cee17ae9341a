"""A search instead of a grid: what is measured next follows from what is measured so far."""
