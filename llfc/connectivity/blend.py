"""The networks between A and B: (1 - alpha) A + alpha B, one at a time in one scratch network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from llfc.connectivity.samples import Batches
from llfc.modules import copy_of, device_of, frozen_copy, tensors
from llfc.modules.inputs import Inputs
from llfc.modules.sites import Interposed, Site, Sites
from llfc.results import Array, LeftOut


@dataclass(frozen=True, eq=False)
class Affine:
    """A scale and a shift of each channel of a layer's output.

    Attributes:
        scale: shape [C].
        shift: shape [C].
    """

    scale: Tensor
    shift: Tensor

    def __call__(self, output: Tensor, dim: int) -> Tensor:
        """`output`, scaled and shifted along its channels, dimension `dim`, in its own type."""
        shape = [1] * output.ndim
        shape[dim] = -1
        return output * self.scale.to(output.dtype).view(shape) + self.shift.to(output.dtype).view(
            shape
        )


@dataclass(frozen=True, eq=False)
class Corrected:
    """A correction of one network; empty if it changes nothing.

    Attributes:
        buffers: the values of buffers, by their full names.
        affines: the maps applied to pre-activations, by the name of their site.
    """

    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    affines: Mapping[str, Affine] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Corrections:
    """The corrections of the networks on a line.

    Attributes:
        at: the correction of the network at each requested position.
        sites: where affine maps are applied.
        layers: the number of layers corrected in a network.
        left_out: layers that are not corrected, and why.
    """

    at: Mapping[int, Corrected]
    sites: Sites = field(default_factory=Sites)
    layers: int = 0
    left_out: tuple[LeftOut, ...] = ()


def line_positions(alphas: int | Sequence[float] | Array) -> Array:
    """Positions on the line, ascending from 0 (A) to 1 (B).

    Args:
        alphas: the number of positions, which must be odd, so that 1/2 is one; or the positions.

    Raises:
        ValueError: if the number is even or below 3, or the positions do not ascend from 0 to 1.

    >>> line_positions(5)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    if isinstance(alphas, int | np.integer):
        if alphas < 3 or alphas % 2 == 0:
            raise ValueError(f"alphas must be odd and at least 3, got {alphas}")
        return np.linspace(0, 1, int(alphas))
    alpha = np.asarray(alphas, dtype=np.float64)
    if alpha.ndim != 1 or len(alpha) < 3:
        raise ValueError(f"alpha must be a list of at least 3 positions, got {alpha.tolist()}")
    # Negated, so that a position that is not a number is refused too.
    if not (alpha[0] == 0 and alpha[-1] == 1 and (np.diff(alpha) > 0).all()):
        raise ValueError(f"alpha must ascend from 0 to 1, got {alpha.tolist()}")
    return alpha


class Line:
    """The networks on the line between A and B, all in eval mode.

    Holds copies: the models that it is made from are never modified. The ends are A and B
    themselves; every network between them is blended into one scratch network, so it takes the
    memory of three networks for any number of positions, or of five if a correction changes the
    ends.

    Attributes:
        alpha: positions, ascending from 0 (A) to 1 (B), shape [P].
        a: a copy of A, as it was trained.
        b: a copy of B, as it was trained.
        ends: A and B corrected in the same way as the networks between them, for comparisons of
            like with like; `a` and `b` themselves if the correction does not change the ends.
        corrections: the corrections of the networks; empty until `correct` is called.
    """

    def __init__(self, a: nn.Module, b: nn.Module, alpha: Array) -> None:
        self.alpha = alpha
        self.a, self.b, self._scratch = frozen_copy(a), frozen_copy(b), frozen_copy(a)
        # Whole numbers, such as a norm's count of batches, stay as they are in A.
        self._ends = [
            (of_a, of_b, into)
            for of_a, of_b, into in zip(
                tensors(self.a).values(),
                tensors(self.b).values(),
                tensors(self._scratch).values(),
                strict=True,
            )
            if into.is_floating_point() or into.is_complex()
        ]
        self._tensors = tensors(self._scratch)
        self.ends = self.a, self.b
        self.corrections = Corrections(dict.fromkeys(self.every, Corrected()))
        self._now = Corrected()

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return device_of(self.a)

    def correct(self, corrections: Corrections) -> None:
        """Apply these corrections to the network at each position from now on; not to `a` and `b`.

        Can be called once, as the affine maps are wrapped around the network's forward permanently.
        """
        self.corrections = corrections
        found = corrections.at
        self.ends = (
            _with_buffers(self.a, found.get(0, Corrected()).buffers),
            _with_buffers(self.b, found.get(len(self.alpha) - 1, Corrected()).buffers),
        )
        if corrections.sites.at:
            vars(self._scratch)["forward"] = partial(self._followed, self._scratch.forward)

    def _followed(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the network's own code, `forward`, gives with affine maps after its sites."""

        def follow(site: Site, output: Tensor) -> Tensor:
            return self._now.affines[site.name](output, site.dim)

        with Interposed(self.corrections.sites, self._scratch, follow):
            return forward(*args, **kwargs)

    @torch.no_grad()
    def at(self, position: int) -> nn.Module:
        """The network at `alpha[position]`, valid until the next call; the ends as trained."""
        if position == 0:
            return self.a
        if position == len(self.alpha) - 1:
            return self.b
        weight = float(self.alpha[position])
        for of_a, of_b, into in self._ends:
            torch.lerp(of_a, of_b, weight, out=into)
        self._now = self.corrections.at[position]
        for name, value in self._now.buffers.items():
            self._tensors[name].copy_(value)
        return self._scratch

    @property
    def every(self) -> range:
        """All positions."""
        return range(len(self.alpha))

    @property
    def inner(self) -> range:
        """The positions strictly between the ends."""
        return range(1, len(self.alpha) - 1)


def _with_buffers(model: nn.Module, values: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `model` with these buffers; `model` itself if there are none."""
    if not values:
        return model
    copied = copy_of(model)
    own = tensors(copied)
    for name, value in values.items():
        own[name].copy_(value)
    return copied


class Correction(Protocol):
    """Finds the corrections of the networks at some positions of the line.

    Args:
        line: the networks.
        train: training data, for corrections that use features; None if there are none.
        example: one or two images, to find out which layers the networks run.
        at: the positions; ends are corrected in the same way as the networks between them.
    """

    def __call__(
        self, line: Line, train: Batches | None, example: Inputs, at: Iterable[int]
    ) -> Corrections: ...
