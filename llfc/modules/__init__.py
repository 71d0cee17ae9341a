"""What may stand for a network, copies of it, and whether two are alike but for their tensors."""

from llfc.modules.alike import (
    batch_dependence,
    check_same_architecture,
    check_same_function,
    check_same_outputs,
    check_same_settings,
)
from llfc.modules.checks import check_inputs, check_network, check_state, spare_inputs
from llfc.modules.copies import copy_into, copy_of, device_of, eval_copy, frozen_copy, tensors
from llfc.modules.modes import in_mode, twice, use_batch_statistics

__all__ = [
    "batch_dependence",
    "check_inputs",
    "check_network",
    "check_same_architecture",
    "check_same_function",
    "check_same_outputs",
    "check_same_settings",
    "check_state",
    "copy_into",
    "copy_of",
    "device_of",
    "eval_copy",
    "frozen_copy",
    "in_mode",
    "spare_inputs",
    "tensors",
    "twice",
    "use_batch_statistics",
]
