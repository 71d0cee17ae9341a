"""The symmetry of any network, derived from its exported graph.

`graph` exports a network and walks through it with a rule for each operator (`rules`); the rules
note in `layouts` which hidden units are one and which belong together; `groups` makes groups of
them, and reads off how each tensor's axes are moved; `spec` is what comes out, and asks the model
whether it is true. Each of `spec`, `layouts`, `rules`, `graph` and `groups` imports only those
before it. `docs/symmetry.md` follows one network through all of it.
"""

from llfc.symmetry.derive import permutation_spec

__all__ = ["permutation_spec"]
