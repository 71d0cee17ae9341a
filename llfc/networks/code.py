"""The code of plug-ins in the store, beside what is made with it: for workers, and for later."""

from collections.abc import Iterator

from llfc.names import divided
from llfc.networks.store import Store
from llfc.plugins import code_of, is_plugin, is_resolved, learn
from llfc.specs import Network, Pair, Trial

CODE = "plugins"


def share_code(record: Network | Trial, store: Store) -> None:
    """Have the code of every plug-in in `record` both in this process and in `store`.

    Whichever has it gives it to the other. Code from the store is taken only if its digest is that
    in the plug-in's name.

    Raises:
        ValueError: if neither has it, or the store cannot be written.
    """
    for kind, name in plugins_of(record):
        if not is_resolved(name):
            raise ValueError(
                f"{kind} must be a plug-in's full name, as llfc.plugins.resolve gives it,"
                f" got {name!r}"
            )
        known, digest = code_of(name), name.rpartition("@")[2]
        if known is None:
            text = store.get_text(CODE, digest)
            if text is None:
                raise ValueError(
                    f"the code of {kind} {name} is neither known here nor in the store"
                    f" {store.root}: name its file again"
                )
            learn(name, text)
        elif not store.has_text(CODE, digest):
            store.put_text(CODE, digest, known)


def plugins_of(record: Network | Pair | Trial) -> Iterator[tuple[str, str]]:
    """Kind and name of every plug-in whose code is run; a data set is read once, and cached."""
    kinds = ["architecture"]
    if isinstance(record, Trial):
        yield from plugins_of(record.pair)
        kinds = ["matching", "correction", "task"]
    for kind in kinds:
        name = getattr(record, kind)
        if kind == "matching":
            name, _ = divided(name)
        if name is not None and is_plugin(kind, name):
            yield kind, name
