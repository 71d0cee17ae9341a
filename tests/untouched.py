"""All of a model that a visitor could leave changed."""

import copy


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
    return copy.deepcopy(model.state_dict()), attributes
