"""The canonical form of a network: an equal one in whose bases there is more freedom."""

from llfc.symmetry.canonical.canonical import canonical

__all__ = ["canonical"]
