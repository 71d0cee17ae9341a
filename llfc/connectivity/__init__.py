"""Act three: the line between two networks, walked once, and what is found on it."""
