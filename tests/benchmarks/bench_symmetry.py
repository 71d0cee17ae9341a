"""How the time of a derivation grows with the depth of a network.

    python tests/benchmarks/bench_symmetry.py

For chains of blocks of depth 10, 100 and 1000: nodes of the graph, seconds of torch.export, of the
derivation itself and of the self-check, and microseconds of derivation a node. Linear growth is a
flat last column.
"""

import time

import torch
from torch import nn

from llfc.symmetry.derive import derive
from llfc.symmetry.graph.export import exported

WIDTH = 8
DEPTHS = (10, 100, 1000)


class Residual(nn.Module):
    """`x + W relu(V norm(x))`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Attending(nn.Module):
    """`x + attention(x)`."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.attention(x, x, x, need_weights=False)[0]


def plain() -> nn.Module:
    """`relu(W x)`."""
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())


BLOCKS = {"plain": plain, "residual": Residual, "attention": Attending}


def measure(block: str, depth: int) -> str:
    """One row of the table."""
    first, last = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 2)
    model = nn.Sequential(first, *(BLOCKS[block]() for _ in range(depth)), last)
    inputs = (torch.randn(2, 4, 3),)
    start = time.perf_counter()
    graph = exported(model, inputs, training=False)
    middle = time.perf_counter()
    spec = derive(model, inputs, strict=True, graph=graph)
    seconds = time.perf_counter() - middle
    spec.check(model, *inputs)
    check = time.perf_counter() - middle - seconds
    nodes = sum(node.op == "call_function" for node in graph.graph.nodes)
    return (
        f"{block:<10} {depth:>6} {nodes:>7} {len(spec.groups):>7} {middle - start:>9.2f} "
        f"{seconds:>9.2f} {check:>8.2f} {1e6 * seconds / nodes:>8.0f}"
    )


def main() -> None:
    """Print the table."""
    print("block       depth   nodes  groups  export s  derive s  check s  us/node")
    for block in BLOCKS:
        for depth in DEPTHS:
            if block == "attention" and depth == DEPTHS[-1]:
                depth = 300  # eight thousand nodes, which the exporter takes minutes to trace
            print(measure(block, depth), flush=True)


if __name__ == "__main__":
    main()
