"""A network, data and checkpoints in files, and the `llfc` command run on them."""

import torch
from safetensors.torch import save_file
from torch import nn

from llfc.command.main import main

CODE = '''
import torch
from torch import nn


class Tied(nn.Module):
    """Logits of tokens by the transpose of their embedding."""

    def __init__(self, units=6):
        super().__init__()
        self.embed = nn.Embedding(5, units)
        self.mix = nn.Linear(units, units)
        self.head = nn.Linear(units, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.mix(self.embed(ids)).relu())


def build(units=8):
    layers = nn.Linear(4, units), nn.BatchNorm1d(units), nn.ReLU(), nn.Linear(units, 3)
    return nn.Sequential(*layers)


def tied():
    return Tied()


def load():
    generator = torch.Generator().manual_seed(0)
    samples = [torch.randn(16, 4, generator=generator), torch.arange(16) % 3]
    return {"train": tuple(samples), "test": [tuple(samples)]}


def number():
    return 3
'''


def build(seed):
    """What CODE's `build` is, with weights and statistics of its own."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    model(torch.randn(20, 4))
    return model.eval()


def written(folder, count=2):
    """`mine.py` and so many checkpoints `0.safetensors`, ... in `folder`; their models."""
    (folder / "mine.py").write_text(CODE)
    models = [build(seed) for seed in range(count)]
    for number, model in enumerate(models):
        save_file(model.state_dict(), folder / f"{number}.safetensors")
    return models


def status_of(*arguments):
    """The exit status of the command."""
    try:
        main([*arguments])
    except SystemExit as ended:
        return ended.code
    raise AssertionError("the command did not end")
