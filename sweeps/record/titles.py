"""What a network or a trial is, in one line for people; its fingerprint says which."""

from llfc.names import readable
from llfc.specs import ALL, Network, Pair, Trial


def noun_of(record: Network | Trial) -> str:
    """`network` or `trial`."""
    return "network" if isinstance(record, Network) else "trial"


def title_of(record: Network | Trial) -> str:
    """`record` in one line.

    A correction and a misalignment are named where there are any, a form where it is another than
    the trained one, a branch by the epoch or step at which it leaves its trunk.
    """
    if isinstance(record, Network) and record.weights is not None:
        return f"{kind_of(record)}, checkpoint {record.weights.rpartition('@')[0]}"
    if isinstance(record, Network):
        words = [kind_of(record), _trunk(record, "a root"), *_data(record), f"seed {record.seed}"]
        return ", ".join(words)
    pair = record.pair
    trunk = _trunk(pair, "independent")
    if pair.checkpoints is not None:
        trunk = " and ".join(name.rpartition("@")[0] for name in pair.checkpoints)
    words = [kind_of(pair), trunk, *_data(pair), f"seed {pair.seed}"]
    words.append(f"matching {readable(record.matching)}")
    if record.form != "trained":
        words.append(f"{record.form} form")
    if record.misalignment:
        whose = "" if record.misaligned == ALL else f" of {record.misaligned}"
        words.append(f"misalignment {record.misalignment:g}{whose}")
    if record.correction != "none":
        words.append(f"correction {readable(record.correction)}")
    return ", ".join(words)


def kind_of(record: Network | Pair) -> str:
    """Architecture, width, options and data set: what networks of one kind share."""
    network = record.a if isinstance(record, Pair) else record
    options = [f"{name} {value}" for name, value in network.options.items()]
    architecture, dataset = readable(record.architecture), readable(record.dataset)
    return ", ".join([f"{architecture} × {record.width:g}", *options, dataset])


def _data(record: Network | Pair) -> list[str]:
    """What share of A's half of the data it sees, if A has a half."""
    by = "" if record.split_by == "samples" else f" of {record.split_by}"
    return [] if record.shared_data is None else [f"shared data {record.shared_data:g}{by}"]


def _trunk(record: Network | Pair, without: str) -> str:
    if record.spawn_step is not None:
        return f"spawned at step {record.spawn_step}"
    return without if record.spawn_epoch is None else f"spawned at epoch {record.spawn_epoch}"
