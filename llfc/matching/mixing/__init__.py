"""Matching by maps of every kind: rotations, signs, scales and invertible maps as permutations."""
