"""The lines of the page on tasks are run as they stand there."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import llfc
from tests.helpers.small_networks import mlp, samples
from tests.helpers.token_networks import gpt, tokens

PAGE = Path(__file__).parents[2] / "docs/tasks.md"


class Masked(nn.Module):
    """Called as a model of Hugging Face is: by name, and with a mask."""

    def __init__(self, seed):
        super().__init__()
        self.network = gpt(seed, form="dict")

    def forward(self, input_ids, attention_mask):
        return self.network(input_ids, attention_mask.double().mean(1))


@pytest.mark.slow
def test_the_lines_on_tasks():
    (block,) = re.findall(r"```python\n(batches = .*?)```", PAGE.read_text(), re.DOTALL)
    lines = block.splitlines()
    ids, targets = tokens(8, 6)
    names = {"llfc": llfc, "ids": ids, "targets": targets, "mask": torch.ones_like(ids)}
    names |= {"a": Masked(0), "b": Masked(1)}
    exec("\n".join(lines[:2]), names)
    assert names["found"].curve["test_loss"].shape == (25,)
    x, y = samples(8, (6,))[0], samples(8, (4,), 1)[0]
    names |= {
        "a": mlp(0),
        "b": mlp(1),
        "x": x,
        "y": y,
        "per_sample_loss": lambda output, targets: (output - targets).square().mean(1),
        "per_sample_error": lambda output, targets: (output - targets).abs().mean(1),
    }
    exec(lines[2], names)
    regression = names["found"].curve
    exec("\n".join(lines[3:]), names)
    assert names["found"].curve["test_loss"].tolist() == regression["test_loss"].tolist()
