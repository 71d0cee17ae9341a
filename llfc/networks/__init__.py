"""Act one: make networks. Architectures, recipes, training, spawning, and the store."""
