"""Which node of a graph is which module's output."""

from collections.abc import Iterable

from torch import fx


def module_outputs(nodes: Iterable[fx.Node]) -> list[tuple[str, fx.Node]]:
    """Modules that run once, each with the last node made in it, in forward order."""
    last: dict[str, fx.Node] = {}
    again: set[str] = set()
    before: set[str] = set()
    for node in nodes:
        if node.op != "call_function":
            continue
        stack = node.meta.get("nn_module_stack") or {}
        paths = {str(path) for path, _ in stack.values() if path}
        again |= {path for path in paths if path in last and path not in before}
        again |= {path.split("@")[0] for path in paths if "@" in path}
        last |= dict.fromkeys(paths, node)
        before = paths
    order = {node: at for at, node in enumerate(dict.fromkeys(last.values()))}
    found = [(path, node) for path, node in last.items() if path not in again and "@" not in path]
    return sorted(found, key=lambda item: order[item[1]])
