"""The symmetry of any network, derived from its exported graph.

`graph` exports a network and walks through it with a rule for each operator (`rules`); the rules
note in `layouts` which hidden units are one and which belong together; `groups` makes groups of
them, and reads off how each tensor's axes are moved; `spec` is what comes out, and asks the model
whether it is true; `kinds` says which linear maps beyond permutations each group allows, and a
`transform` is an element of that. Each of `spec`, `transform`, `layouts`, `rules`, `graph`,
`groups` and `kinds` imports only those before it. `docs/symmetry.md` follows one network through
all of it.
"""

from llfc.symmetry.derive import permutation_spec

__all__ = ["permutation_spec"]
