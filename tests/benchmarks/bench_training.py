"""How much of training is the network itself: images a second of the loop beside two others.

    python tests/benchmarks/bench_training.py [--device cuda]

- loop: the product's, which draws an order, gathers, crops, flips and normalises on the device;
- fixed batch: the same forward, backward and optimiser's step on one batch that already lies there
  as floats. loop / fixed near 1 means that the data cost nothing;
- DataLoader: the usual loop, with PIL images, torchvision's transforms and torch's DataLoader.

The three take turns in one process, which keeps its memory as a worker does, and the best of each
counts, as noise only ever slows down; on a CPU in seconds of processor time, for which
OMP_NUM_THREADS=1 is to be set.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import gettempdir

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import transforms

from llfc.data.datasets import load_dataset
from llfc.data.images import Dataset
from llfc.devices import fastest_layout, keep_freed_memory
from llfc.networks.architectures import build_network
from llfc.networks.training import initial_state, train
from llfc.seeds import stream
from llfc.specs import Recipe

BATCH, REPEATS = 100, 3
# Architecture, width, images an epoch, epochs: what the usual sweeps train, cut short.
CASES = (
    ("mlp", 1 / 16, 5000, 8),
    ("mlp", 1, 5000, 2),
    ("vgg11", 1 / 4, 500, 2),
    ("vgg11", 1, 300, 1),
    ("resnet20", 1 / 4, 500, 2),
    ("resnet20", 1, 300, 1),
)


def main() -> None:
    """Print a line a case."""
    parser = argparse.ArgumentParser(description="Images a second of the training loop.")
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    keep_freed_memory()
    print(f"{device}, {torch.get_num_threads()} threads, batch {BATCH}; images a second")
    print(
        f"{'network':>16} {'loop':>9} {'fixed batch':>12} {'DataLoader':>11}"
        f" {'loop / fixed':>13} {'loop / DataLoader':>18}"
    )
    for architecture, width, limit, epochs in CASES:
        dataset = load_dataset("fashion-mnist-small", cache=Path(gettempdir()), limit_train=limit)
        loop, fixed, usual = _rates(architecture, width, dataset.to(device), epochs)
        name = f"{architecture} x {width:g}"
        print(
            f"{name:>16} {loop:9.0f} {fixed:12.0f} {usual:11.0f} {loop / fixed:13.2f}"
            f" {loop / usual:18.2f}",
            flush=True,
        )


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """PIL images under torchvision's transforms, as its own data sets give them."""

    def __init__(self, dataset: Dataset, *, augment: bool) -> None:
        arrays = dataset.train_images.cpu().permute(0, 2, 3, 1).squeeze(3).numpy()
        self.images = [Image.fromarray(array) for array in arrays]
        self.labels = dataset.train_labels.tolist()
        crop_flip = [
            transforms.RandomCrop(dataset.input_shape[1], padding=4),
            transforms.RandomHorizontalFlip(),
        ]
        self.transform = transforms.Compose(
            [
                *(crop_flip if augment else []),
                transforms.ToTensor(),
                transforms.Normalize(dataset.mean.tolist(), dataset.std.tolist()),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def _rates(
    architecture: str, width: float, dataset: Dataset, epochs: int
) -> tuple[float, float, float]:
    """Images a second of the loop, of the same steps on one batch, and of the usual loop."""
    convolutional = architecture != "mlp"
    recipe = Recipe(
        epochs=epochs, batch_size=BATCH, optimizer="sgd", lr=1e-3, augment=convolutional
    )
    model = build_network(
        architecture,
        width=width,
        input_shape=dataset.input_shape,
        num_classes=dataset.num_classes,
        generator=stream(0, "init"),
    ).to(dataset.train_images.device)
    start = initial_state(model)

    def loop() -> None:
        train(model, dataset, recipe, start=start, until_epoch=epochs, seed=0, branch="bench")

    loop()  # once unmeasured: torch loads and chooses its kernels
    images, labels = next(iter(dataset.batches("train", BATCH)))
    images = images.to(memory_format=fastest_layout(model))
    steps = epochs * len(dataset.train_labels) // BATCH

    def fixed() -> None:
        _steps(model, ((images, labels) for _ in range(steps)), recipe)

    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    pictures = Pictures(dataset, augment=convolutional)
    loader = torch.utils.data.DataLoader(pictures, batch_size=BATCH, shuffle=True)

    def usual() -> None:
        each = (batch for _ in range(epochs) for batch in loader)
        _steps(plain, ((x.to(images.device), y.to(images.device)) for x, y in each), recipe)

    clock = time.process_time if images.device.type == "cpu" else time.perf_counter
    seconds = [[_seconds(work, clock) for work in (loop, fixed, usual)] for _ in range(REPEATS)]
    count = epochs * len(dataset.train_labels)
    one, two, three = (count / min(each) for each in zip(*seconds, strict=True))
    return one, two, three


def _steps(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], recipe: Recipe) -> None:
    """A training step a batch, as plainly as can be."""
    optimizer = torch.optim.SGD(model.parameters(), recipe.lr, momentum=recipe.momentum, fused=True)
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    loss.item()


def _seconds(work: Callable[[], None], clock: Callable[[], float]) -> float:
    begin = clock()
    work()
    return clock() - begin


if __name__ == "__main__":
    main()
