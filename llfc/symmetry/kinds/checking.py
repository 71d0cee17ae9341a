"""Do the kinds hold? Random maps of exactly these kinds, on the function, in float64."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from llfc.modules import copy_of
from llfc.symmetry.kinds.finding import Found
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.kinds import Kinds
from llfc.symmetry.spec.precision import InDouble, in_double
from llfc.symmetry.spec.selfcheck import Comparison, randomised, randomised_inputs, relative_gap
from llfc.symmetry.spec.table import family
from llfc.symmetry.transform import Transform

# Of the outputs' scale. Rounding is near 1e-13, and grows with the condition of the random maps.
TOLERANCE = 1e-8


@dataclass
class Check:
    """A model on which kinds are tried, in eval mode.

    In train mode, dropout would tell apart what is mixed.
    """

    spec: PermutationSpec
    found: Found
    model: nn.Module
    inputs: Sequence[Any]
    seed: int = 0

    def gap(self, names: Sequence[str]) -> float:
        """The largest change of an output under random maps of some families, as of its scale."""
        spec = self.spec.with_kinds(self.kinds())
        drawn = Transform.random(spec, self.seed)
        transform = Transform(spec, {g: e for g, e in drawn.items() if family(g) in names})
        state = randomised(self.model.state_dict(), self.seed)
        inputs = pytree.tree_map_only(Tensor, in_double, randomised_inputs(self.inputs, self.seed))
        run = Comparison(dict, self.model, {}, inputs, self.seed, training=False)
        try:
            with InDouble():  # type: ignore[no-untyped-call]
                before = run.outputs(state)
                for name, tensor in state.items():  # one by one, so that what it was is freed
                    state[name] = transform.moved_tensor(name, in_double(tensor))
                return relative_gap(before, run.outputs(state, spent=True))
        except (RuntimeError, TypeError, ValueError):
            return float("inf")  # it does not run in float64

    def settle(self) -> Kinds:
        """The kinds, of which those that fail are made smaller."""
        lines: list[str] = []
        names = [name for name, kind in self.found.kinds.items() if kind != "permutation"]
        gap = self.gap(names) if names else 0.0
        if not gap <= TOLERANCE:
            for name in names:
                lines += self.shrink(name)
            gap = self.gap(names)
        return self.kinds(lines, gap)

    def shrink(self, name: str) -> list[str]:
        """Make one family's kind smaller until it passes alone; a line for each step."""
        lines = []
        while (kind := self.found.kinds[name]) != "permutation":
            gap = self.gap([name])
            if gap <= TOLERANCE:
                break
            smaller = self.found.make_smaller(name)
            lines.append(
                f"{name}: not {kind} but {smaller}, as random {kind} maps change the outputs by "
                f"{gap:.2g} of their scale"
            )
        return lines

    def kinds(self, lines: Sequence[str] = (), gap: float = 0.0) -> Kinds:
        """The kinds as they are now."""
        kinds = {group: self.found.kinds[family(group)] for group in self.spec.groups}
        return Kinds(kinds, self.found.powers(), lines, gap)


def checked(spec: PermutationSpec, found: Found, model: nn.Module, inputs: Sequence[Any]) -> Kinds:
    """The kinds that hold on a model.

    Raises:
        ValueError: its tensors are no longer those of the spec.
    """
    model = copy_of(model)
    state: Mapping[str, Tensor] = model.state_dict()
    if state.keys() != spec.axes.keys():
        names = sorted(state.keys() ^ spec.axes.keys())
        raise ValueError(f"kinds: the model has changed since its spec was derived: {names[0]!r}")
    device = next((tensor.device for tensor in state.values()), None)
    inputs = pytree.tree_map_only(Tensor, lambda x: x.to(device), tuple(inputs))
    return Check(spec, found, model, inputs).settle()
