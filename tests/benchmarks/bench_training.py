"""How much of training is the network itself: images a second of the loop against one fixed batch.

    python tests/benchmarks/bench_training.py [--device cuda]

The reference repeats forward, backward and the optimiser's step on a batch that already lies there
as floats; the loop also draws an order, gathers, crops, flips and normalises. A share of 1 means
that the data cost nothing.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import torch
from torch import nn
from torch.nn import functional as F

from llfc.data import Dataset, load_dataset
from llfc.networks.architectures import build
from llfc.networks.training import initial_state, train
from llfc.seeds import stream
from llfc.specs import Recipe

BATCH, REPEATS = 100, 3
# Architecture, width, images an epoch, augmented: what the usual sweeps train.
CASES = (("mlp", 1 / 16, 5000), ("mlp", 1, 5000), ("vgg11", 1 / 4, 500), ("resnet20", 1 / 4, 500))


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description="Images a second of the training loop.")
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    print(f"{device}, {torch.get_num_threads()} threads, batch {BATCH}")
    print(f"{'network':>16} {'loop':>9} {'fixed batch':>12} {'share':>6}")
    for architecture, width, limit in CASES:
        dataset = load_dataset("fashion-mnist-small", cache=Path(gettempdir()), limit_train=limit)
        loop, fixed = _rates(architecture, width, dataset.to(device))
        name = f"{architecture} x {width:g}"
        print(f"{name:>16} {loop:9.0f} {fixed:12.0f} {loop / fixed:6.2f}")


def _rates(architecture: str, width: float, dataset: Dataset) -> tuple[float, float]:
    """Images a second of the loop, and of the same steps on one batch."""
    convolutional = architecture != "mlp"
    recipe = Recipe(epochs=1, batch_size=BATCH, optimizer="sgd", lr=1e-3, augment=convolutional)
    model = build(
        architecture,
        width=width,
        input_shape=dataset.input_shape,
        num_classes=dataset.num_classes,
        generator=stream(0, "init"),
    ).to(dataset.train_images.device)
    start = initial_state(model)

    def loop() -> None:
        train(model, dataset, recipe, start=start, until_epoch=1, seed=0, branch="bench")

    loop()  # once unmeasured: torch loads and chooses its kernels
    images, labels = next(iter(dataset.batches("train", BATCH)))
    if convolutional and images.device.type == "cpu":
        images = images.to(memory_format=torch.channels_last)
    steps = len(dataset.train_labels) // BATCH

    def fixed() -> None:
        _repeat(model, images, labels, recipe, steps)

    # In turn, so that both see the same machine; the best, as noise only ever slows down.
    seconds = [(_seconds(loop), _seconds(fixed)) for _ in range(REPEATS)]
    count = len(dataset.train_labels)
    return count / min(s for s, _ in seconds), count / min(s for _, s in seconds)


def _repeat(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, recipe: Recipe, steps: int
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=recipe.momentum, fused=True)
    for _ in range(steps):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    loss.item()


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
