"""Act three: the line between two networks, walked once, and what is found on it."""

from llfc.connectivity.corrections import CORRECTIONS, Correction

__all__ = ["CORRECTIONS", "Correction"]
