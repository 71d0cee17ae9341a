"""Which maps of units each operator commutes with: f(M x) = M f(x), M along the units.

The literal says it of operators that treat units one by one or leave them alone; contractions,
products and norms, whose other arguments are transformed too, are in `RELATIONS`. What is in
neither table commutes with permutations alone, as far as is known.
"""

from llfc.symmetry.kinds import norms, relating
from llfc.symmetry.kinds.relating import Relation

COMMUTING: dict[str, str] = {
    # Linear in x, and the same for all units.
    "invertible": (
        "neg positive dropout feature_dropout alpha_dropout feature_alpha_dropout clone alias "
        "contiguous detach to _to_copy type_as lift_fresh_copy detach_copy "
        "mean sum nansum "
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d _adaptive_avg_pool2d upsample_nearest1d upsample_nearest2d "
        "upsample_linear1d upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa "
        "reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d"
    ),
    # Positively homogeneous: f(a x) = a f(x) for a > 0.
    "scaled": (
        "relu leaky_relu rrelu abs amax amin "
        "max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d "
        "adaptive_max_pool3d max_pool2d_with_indices"
    ),
    # Odd: f(-x) = -f(x).
    "signed": (
        "tanh sin asin atan sinh asinh atanh tan erf erfinv sgn sign trunc round hardshrink "
        "softshrink reciprocal"
    ),
    # Neither.
    "permutation": (
        "gelu silu sigmoid log_sigmoid mish hardsigmoid hardswish softplus elu selu celu relu6 exp "
        "expm1 log log1p cos cosh rsqrt sqrt softmax log_softmax floor ceil"
    ),
}
# How the places that an operator reads and writes are related, where the table above is not enough.
RELATIONS: dict[Relation, str] = {
    relating.added: "add sub maximum minimum fmax fmin copy",
    relating.multiplied: "mul div multiply divide true_divide",
    relating.linear: "linear",
    relating.matmul: "matmul bmm mm mv dot vdot linalg_matmul",
    relating.addmm: "addmm baddbmm",
    relating.einsum: "einsum",
    relating.attention: "scaled_dot_product_attention",
    relating.convolution: "conv1d conv2d conv3d convolution",
    norms.layer_norm: "layer_norm group_norm native_layer_norm",
    norms.rms_norm: "rms_norm",
    norms.batch_norm: "batch_norm _native_batch_norm_legit_no_training instance_norm",
    relating.prelu: "prelu _prelu_kernel",
    norms.square: "pow square",
    norms.euclidean: "linalg_vector_norm norm",
    relating.bounded: "clamp clamp_min clamp_max threshold hardtanh",
    relating.where: "where masked_fill",
    relating.looked_up: "embedding index_select index",
    relating.padded: "constant_pad_nd pad",
    relating.ignored: "sym_size sym_numel _assert_tensor_metadata _assert_scalar _assert_async",
}
BY_OPERATOR: dict[str, Relation] = {
    name: relation for relation, names in RELATIONS.items() for name in names.split()
}
KIND_OF: dict[str, str] = {
    name: kind for kind, names in COMMUTING.items() for name in names.split()
}
