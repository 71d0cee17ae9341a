"""All of a model, and of what is shared by all, that a visitor could leave changed."""

import copy
import random

import numpy as np
import torch

from llfc.modules import copy_of


def described(model):
    """Its state, and every module's mode, attributes, hooks, and what its parameters hold."""
    attributes = {
        name: (
            module.training,
            sorted(vars(module)),
            [len(hooks) for hooks in (module._forward_hooks, module._forward_pre_hooks)],
            [(p.requires_grad, p.grad is None) for p in module.parameters(recurse=False)],
        )
        for name, module in model.named_modules()
    }
    return copy_of(model).state_dict(), attributes


def fingerprint(model):
    """Every module and tensor of a model by identity, with all that could be changed in place."""
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    return (
        {name: (id(each), each.training, repr(each)) for name, each in model.named_modules()},
        [
            sorted((key, id(value)) for key, value in vars(module).items() if key != "training")
            for module in model.modules()
        ],
        [
            [list(held) for name, held in vars(module).items() if "_hooks" in name and held]
            for module in model.modules()
        ],
        {name: of_tensor(tensor) for name, tensor in tensors.items()},
    )


def of_tensor(tensor):
    """A tensor's identity, version, gradient and every bit."""
    gradient = None if tensor.grad is None else (id(tensor.grad), bits(tensor.grad))
    place = id(tensor), tensor.data_ptr(), tensor._version
    return *place, tensor.requires_grad, gradient, bits(tensor)


def bits(tensor):
    return tensor.detach().contiguous().numpy().tobytes()


def generators():
    """Where the generators stand that all share."""
    return copy.deepcopy(
        (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state()))
    )
