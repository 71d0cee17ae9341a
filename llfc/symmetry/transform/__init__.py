"""Elements of a network's symmetry, of any kind, and what they do to a state dict."""

from llfc.symmetry.transform.element import Element
from llfc.symmetry.transform.transform import Transform

__all__ = ["Element", "Transform"]
