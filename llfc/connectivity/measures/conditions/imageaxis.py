"""The batch dimension of each operation's tensors, which need not be the first."""

from collections.abc import Sequence

from torch import nn

from llfc.connectivity.measures.conditions.operation import Operation
from llfc.connectivity.measures.conditions.operations import operations
from llfc.modules.imageaxis import ImageAxis, Trio, image_axis
from llfc.modules.inputs import Inputs


def image_axes(
    model: nn.Module, example: Inputs, found: Sequence[Operation]
) -> list[ImageAxis | None]:
    """Where the images are in each operation's input in a forward pass, in the order they run.

    None where nothing that depends on the images has a dimension for them.

    Args:
        model: the network, in eval mode.
        example: one image or more.
        found: the operations of a forward pass.
    """
    trio = Trio.of(example)
    ran = [operations(model, images) for images in (trio.batch, trio.swapped, trio.twice)]
    if any(len(each) != len(found) for each in ran):
        return [None] * len(found)
    axes = (image_axis(x.input, y.input, z.input.shape) for x, y, z in zip(*ran, strict=True))
    return [axis if isinstance(axis, ImageAxis) else None for axis in axes]
