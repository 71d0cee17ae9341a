"""The symmetry of any network, derived from its exported graph.

`walk` goes through the graph with a rule for each operator; the rules note in `units` which hidden
units are one and which belong together; `quotient` and `families` make groups of them; `placing`
reads off how each tensor's axes are moved; `selfcheck` asks the model whether that is true.
"""

from llfc.symmetry.derive import permutation_spec

__all__ = ["permutation_spec"]
