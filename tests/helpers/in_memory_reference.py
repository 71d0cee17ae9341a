"""What a trial finds, by the plainest means: all features of all images in memory.

`tests.helpers.small_networks.reference` has the curve and the layers' profiles.
"""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from tests.helpers.small_networks import blended, loss_and_error

LINEAR = (nn.Linear, nn.Conv2d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.RMSNorm)


def networks(a, b, alpha, train, size):
    """The network at each position; the batch norms of all of them, the ends too, see `train`."""
    found = [blended(a, b, weight) for weight in alpha]
    for model in found:
        reset(model, train.split(size))
    return found


def reset(model, batches):
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    seen = {norm: [] for norm in norms}
    handles = [
        norm.register_forward_hook(
            lambda norm, inputs, output: seen[norm].append(inputs[0].clone())
        )
        for norm in norms
    ]
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for images in batches:
            model(images)
    for handle in handles:
        handle.remove()
    for norm, inputs in seen.items():
        var, mean = torch.var_mean(torch.cat(inputs), (0, 2, 3))
        norm.running_mean, norm.running_var = mean, var
        norm.eval()


def calls(model, images):
    """Input and output of every module that runs once, and the logits."""
    inputs, outputs, handles = {}, {}, []
    for name, module in model.named_modules():

        def enter(module, args, name=name):
            inputs[name] = args[0].clone()

        def leave(module, args, output, name=name):
            outputs[name] = output.clone()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    with torch.no_grad():
        logits = model(images)
    for handle in handles:
        handle.remove()
    return inputs, outputs, logits


def barriers(alpha, values):
    chord = (1 - alpha) * values[0] + alpha * values[-1]
    return (values - chord).max(), values.max() - (values[0] + values[-1]) / 2


def distance(x, y):
    with torch.no_grad():
        return float((x - y).square().sum() / (x.norm() * y.norm()))


def additivity(a, b, images_a, images_b):
    """The columns of each ReLU, by its name."""
    (inputs_a, *_), (inputs_b, *_) = calls(a, images_a), calls(b, images_b)
    found = {}
    for name in (name for name, module in a.named_modules() if isinstance(module, nn.ReLU)):
        h_a, h_b = inputs_a[name].flatten(1), inputs_b[name].flatten(1)
        u, v = (h_a.relu() + h_b.relu()) / 2, ((h_a + h_b) / 2).relu()
        found[name] = {
            "dist": distance(u, v),
            "cos": float(torch.cosine_similarity(u, v).mean()),
            "coef": float(((u * v).sum(1) / u.square().sum(1)).mean()),
            "signs": float(((h_a > 0) == (h_b > 0)).double().mean()),
        }
    return found


def commutativity(a, b, images_a, images_b, *, fold=True):
    """The columns of each linear layer, by its name; with the batch norm after it, or without."""
    (inputs_a, outputs_a, _), (inputs_b, *_) = calls(a, images_a), calls(b, images_b)
    after = followers(a, inputs_a, outputs_a)
    found = {}
    for name in (name for name, module in a.named_modules() if isinstance(module, LINEAR)):
        w_a, w_b = (copy.deepcopy(model.get_submodule(name)) for model in (a, b))
        if fold and name in after:
            w_a, w_b = (
                fused(w, model.get_submodule(after[name])) for w, model in ((w_a, a), (w_b, b))
            )
        w_a.bias = w_b.bias = None
        h_a, h_b = inputs_a[name], inputs_b[name]
        with torch.no_grad():
            com = distance(w_a(h_a) + w_b(h_b), w_a(h_b) + w_b(h_a))
        found[name] = {
            "dist_com": com,
            "dist_w": distance(w_a.weight, w_b.weight),
            "dist_h": distance(h_a, h_b),
        }
    return found


def raw_commutativity(a, b, images_a, images_b):
    """The columns of each linear layer that a batch norm follows, by its name, without it."""
    inputs, outputs, _ = calls(a, images_a)
    raw = commutativity(a, b, images_a, images_b, fold=False)
    return {name: raw[name] for name in raw if name in followers(a, inputs, outputs)}


def followers(model, inputs, outputs):
    """The batch norm that reads what a linear layer gives, by the layer's name."""
    return {
        layer: norm
        for layer, module in model.named_modules()
        if isinstance(module, LINEAR)
        for norm, other in model.named_modules()
        if isinstance(other, BATCH_NORMS) and same(inputs[norm], outputs[layer])
    }


def same(x, y):
    return x.shape == y.shape and torch.equal(x, y)


def fused(layer, norm):
    fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    return fuse(layer.eval(), norm.eval())


def norms(a, b, between, images_a, images_b):
    """The columns of each norm, by its name; `between` is the network half way."""
    (inputs_a, out_a, _), (inputs_b, out_b, _) = calls(a, images_a), calls(b, images_b)
    found = {}
    for name in (name for name, module in a.named_modules() if isinstance(module, NORMS)):
        with torch.no_grad():
            v = between.get_submodule(name)((inputs_a[name] + inputs_b[name]) / 2).flatten(1)
        u = (out_a[name] + out_b[name]).flatten(1) / 2
        found[name] = {
            "dist": distance(u, v),
            "cos": float(torch.cosine_similarity(u, v).mean()),
            "coef": float(((u * v).sum(1) / u.square().sum(1)).mean()),
        }
    return found


def stitching(a, b, images, labels, names):
    """Loss and error of A's feature in B's later layers, a row a probe."""
    layers = {}
    for name, module in b.named_children():
        stage = isinstance(module, nn.Sequential)
        layers |= (
            {f"{name}.{k}": m for k, m in module.named_children()} if stage else {name: module}
        )
    _, features, _ = calls(a, images)
    rows = []
    with torch.no_grad():
        for name in names:
            value = features[name]
            for layer in list(layers.values())[list(layers).index(name) + 1 :]:
                value = layer(value)
            rows.append(loss_and_error(value, labels))
    return rows


def similarity(a, b, blend, images, names):
    """Rows of the columns variance_ratio, cka_ab, cka_a and cka_b, a row a probe."""
    kept = [calls(model, images)[1] for model in (a, b, blend)]
    rows = []
    for name in names:
        x, y, z = (outputs[name].flatten(1) for outputs in kept)
        std = [feature.std(0, correction=0) for feature in (x, y, z)]
        ratio = std[2].square().sum() / ((std[0] + std[1]) / 2).square().sum()
        ckas = [cka(one, other) for one, other in ((x, y), (z, x), (z, y))]
        rows.append([float(ratio), *ckas])
    return rows


def cka(x, y):
    k, m = x @ x.T, y @ y.T
    return float(hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt())


def hsic(k, m):
    """Song et al. 2012, equation 5, as they write it."""
    count, one = len(k), torch.ones(len(k), dtype=k.dtype)
    k, m = k - torch.diag(k.diagonal()), m - torch.diag(m.diagonal())
    second = (one @ k @ one) * (one @ m @ one) / ((count - 1) * (count - 2))
    third = 2 / (count - 2) * (one @ k @ m @ one)
    return (torch.trace(k @ m) + second - third) / (count * (count - 3))
