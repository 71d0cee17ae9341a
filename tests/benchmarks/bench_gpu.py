"""Training on a GPU: images a second beside a plain loop, and the share of what the GPU can do.

    python tests/benchmarks/bench_gpu.py

- plain: float32, forward, backward and optimiser's step as they are written, on one batch that
  already lies on the device; TF32 as torch has it by default;
- DataLoader: the same steps fed with PIL images, torchvision's transforms and torch's DataLoader;
- loop: the product's, which also draws an order, gathers, crops, flips and normalises; in float32
  (whole, no TF32) and in bfloat16;
- four: as many networks at once in bfloat16, by threads of one process; images of all of them;
- ceiling: the operations of `loop` in bfloat16, over those of a large matrix product in bfloat16.

CIFAR-shaped images of noise; the best of three epochs counts, as noise only ever slows down.
"""

import copy
import dataclasses
import itertools
import threading
import time

import torch
from bench_training import Pictures
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from llfc.data.images import Dataset
from llfc.networks.architectures import build_network
from llfc.networks.training import initial_state, train
from llfc.seeds import stream
from llfc.specs import Recipe

BATCH, EPOCHS, SIZE = 128, 4, 8192
CASES = (("mlp", 1, 25600), ("resnet20", 1, 12800), ("resnet20", 1 / 4, 12800), ("vgg16", 1, 12800))
COLUMNS = ("plain", "DataLoader", "loop f32", "loop bf16", "four", "loop/plain", "four/plain")


def main() -> None:
    """Print a line a case."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return
    ceiling = _ceiling()
    print(f"{torch.cuda.get_device_name()}, batch {BATCH}; images a second")
    print(f"product of bfloat16 matrices of {SIZE}: {ceiling / 1e12:.0f} TFLOP/s")
    print(f"{'network':>16} " + " ".join(f"{column:>11}" for column in COLUMNS) + "     ceiling")
    for architecture, width, count in CASES:
        dataset = _noise(count)
        model = _model(architecture, width, dataset)
        recipe = Recipe(
            epochs=EPOCHS, batch_size=BATCH, optimizer="sgd", lr=1e-3, augment=architecture != "mlp"
        )
        half = dataclasses.replace(recipe, precision="bfloat16")
        plain = _fixed(model, dataset)
        usual = _usual(model, dataset, augment=recipe.augment)
        loop, fast = _loop(model, dataset, recipe), _loop(model, dataset, half)
        four = _together(model, dataset, half, 4)
        share = fast * _operations(model, dataset) / ceiling
        numbers = " ".join(f"{rate:11.0f}" for rate in (plain, usual, loop, fast, four))
        name = f"{architecture} x {width:g}"
        print(
            f"{name:>16} {numbers} {fast / plain:11.2f} {four / plain:11.2f} {share:11.1%}",
            flush=True,
        )


def _ceiling() -> float:
    """Operations a second of a large matrix product in bfloat16."""
    a, b = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = min(_seconds(lambda: a @ b) for _ in range(10))
    return 2 * SIZE**3 / seconds


def _noise(count: int) -> Dataset:
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=stream(0, "pixels"))
    labels = torch.arange(count) % 10
    return Dataset(
        name="noise",
        train_images=pixels.to(torch.uint8),
        train_labels=labels,
        test_images=pixels[:10].to(torch.uint8),
        test_labels=labels[:10],
        num_classes=10,
        mean=torch.full((3,), 0.5),
        std=torch.full((3,), 0.29),
    ).to("cuda")


def _model(architecture: str, width: float, dataset: Dataset) -> torch.nn.Module:
    return build_network(
        architecture,
        width=width,
        input_shape=dataset.input_shape,
        num_classes=10,
        generator=stream(0, "init"),
    ).to("cuda")


def _loop(model: torch.nn.Module, dataset: Dataset, recipe: Recipe) -> float:
    """Images a second of the product's loop, by the best epoch after the first."""
    ends = []

    def on_epoch(epoch: int, loss: float) -> None:
        torch.cuda.synchronize()
        ends.append(time.perf_counter())

    start = initial_state(model)
    train(
        copy.deepcopy(model),
        dataset,
        recipe,
        start=start,
        until_epoch=EPOCHS,
        seed=0,
        branch="bench",
        on_epoch=on_epoch,
    )
    return len(dataset.train_labels) / min(b - a for a, b in itertools.pairwise(ends))


def _together(model: torch.nn.Module, dataset: Dataset, recipe: Recipe, count: int) -> float:
    """Images a second of `count` loops at once, from the end of their first epochs on."""
    begin, ends = threading.Barrier(count), [[] for _ in range(count)]

    def one(number: int) -> None:
        def on_epoch(epoch: int, loss: float) -> None:
            if epoch == 1:
                begin.wait()
            ends[number].append(time.perf_counter())

        train(
            copy.deepcopy(model),
            dataset,
            recipe,
            start=initial_state(model),
            until_epoch=EPOCHS,
            seed=number,
            branch="bench",
            on_epoch=on_epoch,
        )

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = max(each[-1] for each in ends) - min(each[0] for each in ends)
    return count * (EPOCHS - 1) * len(dataset.train_labels) / seconds


def _fixed(model: torch.nn.Module, dataset: Dataset) -> float:
    """Images a second of plain steps on one batch."""
    images, labels = next(iter(dataset.batches("train", BATCH)))
    take = _steps(model)
    steps = len(dataset.train_labels) // BATCH
    take(images, labels)
    seconds = min(_seconds(lambda: [take(images, labels) for _ in range(steps)]) for _ in range(3))
    return steps * BATCH / seconds


def _usual(model: torch.nn.Module, dataset: Dataset, *, augment: bool) -> float:
    """Images a second of plain steps behind a DataLoader."""
    pictures = Pictures(dataset, augment=augment)
    few = torch.utils.data.Subset(pictures, range(2560))
    loader = torch.utils.data.DataLoader(few, batch_size=BATCH, shuffle=True)
    take = _steps(model)
    seconds = min(
        _seconds(lambda: [take(x.to("cuda"), y.to("cuda")) for x, y in loader]) for _ in range(2)
    )
    return len(few) / seconds


def _steps(model: torch.nn.Module):
    """A function that takes one plain step."""
    model = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def take(images: torch.Tensor, labels: torch.Tensor) -> None:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return take


def _operations(model: torch.nn.Module, dataset: Dataset) -> float:
    """Operations of forward and backward pass, an image."""
    images, labels = next(iter(dataset.batches("train", BATCH)))
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(copy.deepcopy(model)(images), labels).backward()
    return counter.get_total_flops() / len(labels)


def _seconds(work) -> float:
    torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
