"""Which rule is whose: the rule of every operator, in one table.

Names are those of ATen without namespace, overload and the mark of an in-place operator; `getitem`
is Python's. What has no rule and is no elementwise operator is taken apart (`graph.inside`), and
refused if that leads to no rule either.
"""

import operator

import torch
from torch import fx

from llfc.symmetry.layouts.layout import Refusal, is_fixed
from llfc.symmetry.layouts.units import SHOWN
from llfc.symmetry.rules import (
    draws,
    elementwise,
    indexing,
    order,
    products,
    spatial,
    views,
)
from llfc.symmetry.rules.calls import UNKNOWN_SIZE, Call, Rule, fixed_layouts
from llfc.symmetry.rules.operators import SPLITTING, has_unknown_size, is_pointwise, operator_name
from llfc.symmetry.rules.parts.joins import SYMMETRIC

OPERATORS: dict[Rule, str] = {
    # Entry by entry, norms, reductions, softmax.
    elementwise.symmetric: " ".join(SYMMETRIC),
    elementwise.elementwise: "sub div where masked_fill",
    elementwise.same: (
        "dropout feature_dropout alpha_dropout feature_alpha_dropout clone alias contiguous "
        "detach to _to_copy type_as lift_fresh_copy lift_fresh lift detach_copy positive "
        "nan_to_num real imag _conj resolve_conj _assert_tensor_metadata requires_grad"
    ),
    elementwise.unary: (
        "log_sigmoid mish gelu silu hardsigmoid threshold leaky_relu rrelu celu selu elu hardtanh "
        "relu6 hardswish softplus"
    ),
    elementwise.uniform: (
        "zeros ones full empty new_zeros new_ones new_full new_empty zeros_like ones_like "
        "full_like empty_like scalar_tensor new_empty_strided"
    ),
    elementwise.fill: "fill zero",
    elementwise.between: "bucketize",
    elementwise.copy: "copy",
    elementwise.complex_numbers: "complex polar",
    elementwise.real_and_imaginary: "view_as_real",
    elementwise.as_complex: "view_as_complex",
    elementwise.prelu: "_prelu_kernel prelu",
    elementwise.batch_norm: (
        "batch_norm native_batch_norm _native_batch_norm_legit_no_training instance_norm"
    ),
    elementwise.layer_norm: "layer_norm rms_norm native_layer_norm",
    elementwise.group_norm: "group_norm",
    elementwise.softmax: "softmax log_softmax _softmax _log_softmax _safe_softmax",
    elementwise.reduction: (
        "mean sum amax amin var std logsumexp prod all any nansum linalg_vector_norm norm "
        "var_mean std_mean max min median aminmax count_nonzero"
    ),
    elementwise.ignored: "sym_size sym_numel _assert_async _assert_scalar",
    # Random draws.
    draws.drawn: " ".join(draws.DRAWS),
    # Contractions.
    products.linear: "linear",
    products.matmul: "matmul bmm mm mv dot vdot linalg_matmul _sparse_mm",
    products.addmm: "addmm baddbmm",
    products.bilinear: "bilinear",
    products.distances: "cdist _cdist_forward _euclidean_dist",
    products.einsum: "einsum",
    products.attention: "scaled_dot_product_attention",
    # Convolutions, pools and what else runs over space.
    spatial.convolution: (
        "conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d conv_transpose3d"
    ),
    spatial.pooling: (
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
        "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d upsample_bilinear2d "
        "upsample_nearest2d upsample_bicubic2d upsample_nearest1d max_pool2d_with_indices "
        "_adaptive_avg_pool2d upsample_linear1d reflection_pad2d replication_pad2d "
        "reflection_pad1d replication_pad1d adaptive_max_pool1d adaptive_max_pool3d "
        "_upsample_bilinear2d_aa"
    ),
    spatial.sampled: "grid_sampler grid_sampler_2d grid_sampler_3d",
    spatial.patches_folded: "col2im",
    spatial.windows: "unfold",
    # Which entry is the largest; what runs along an axis.
    order.ordered: "sort topk argsort kthvalue msort mode",
    order.extreme: "argmax argmin",
    order.cumulative: "cumsum cumprod logcumsumexp cummax cummin",
    # Entries moved, not changed.
    views.viewed: "view reshape flatten unflatten _unsafe_view view_as reshape_as",
    views.permute: "permute",
    views.transpose: "transpose swapaxes swapdims",
    views.turned: "t numpy_T mT matrix_H adjoint",
    views.movedim: "movedim moveaxis",
    views.squeeze: "squeeze",
    views.unsqueeze: "unsqueeze",
    views.expanded: "expand expand_as broadcast_to",
    views.broadcast_tensors: "broadcast_tensors",
    views.repeat: "repeat tile",
    views.repeat_interleave: "repeat_interleave",
    views.sliced: "slice narrow",
    views.selected: "select",
    views.unbind: "unbind",
    views.chunk: " ".join(SPLITTING),
    views.getitem: "getitem",
    views.cat: "cat concat concatenate",
    views.stack: "stack",
    views.pad: "constant_pad_nd pad",
    views.roll: "roll",
    views.flip: "flip",
    views.channel_shuffle: "channel_shuffle",
    views.pixel_shuffle: "pixel_shuffle",
    views.pixel_unshuffle: "pixel_unshuffle",
    views.glu: "glu",
    # Looked up and written by position.
    indexing.embedding: "embedding",
    indexing.embedding_bag: "embedding_bag",
    indexing.index_select: "index_select",
    indexing.indexed: "index _unsafe_index",
    indexing.as_one_hot: "one_hot",
    indexing.equal: "eq",
    indexing.gathered: "gather take_along_dim",
    indexing.triangle: "tril triu",
    indexing.index_add: "index_add index_copy index_reduce",
    indexing.scatter_entries: "scatter scatter_add scatter_reduce",
    indexing.written_into_part: (
        "index_fill masked_scatter index_put _unsafe_index_put slice_scatter select_scatter"
    ),
}
RULES: dict[str, Rule] = {name: rule for rule, names in OPERATORS.items() for name in names.split()}
# Operators whose rules know what whole numbers that name units are (`Layout.into`).
LOOKUPS = frozenset(
    (
        "embedding index_select index _unsafe_index one_hot eq gather take_along_dim scatter "
        "scatter_add getitem zeros_like ones_like"
    ).split()
)
# Operators whose rules know picked axes (`Layout.picks`), beside those that work entry by entry.
PICKING = frozenset(
    (
        "linear matmul bmm mm mv addmm baddbmm einsum permute transpose swapaxes t mT movedim "
        "squeeze unsqueeze clone alias contiguous detach to _to_copy dropout gelu silu elu "
        "leaky_relu softplus mean sum amax amin softmax log_softmax layer_norm rms_norm view "
        "reshape flatten unflatten _unsafe_view view_as reshape_as select"
    ).split()
)


def rule_of(node: fx.Node) -> Rule | None:
    """The rule of an operator; Python's arithmetic, of sizes, has none."""
    known = isinstance(node.target, torch._ops.OpOverload) or node.target is operator.getitem
    return RULES.get(operator_name(node)) if known else None


def fallback(node: fx.Node, call: Call) -> Rule | None:
    """What to do with an operator that has no rule of its own; None: units meet it."""
    if is_pointwise(node):
        return elementwise.elementwise
    if all(is_fixed(layout) for layout in call.tensors()):
        if node.users and node.meta.get("val") is None:
            raise Refusal("what it returns is not known")
        if has_unknown_size(node):
            raise Refusal(UNKNOWN_SIZE)
        return lambda call: fixed_layouts(call.units, call.node.meta.get("val"), SHOWN)
    return None
