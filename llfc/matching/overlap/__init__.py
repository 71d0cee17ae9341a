"""The objective of matching: the overlap of two networks, and what it is made of."""
