"""The `llfc` command, for people with two checkpoints and a model.

`spec`, `match`, `connect` and `merge` are thin: each reads its arguments, calls the function of the
library that has its name, and writes what comes of it, whole or not at all.
"""
