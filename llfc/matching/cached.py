"""Each pair is matched once by each matcher, whatever the trials that measure it afterwards."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from llfc.codec import to_plain
from llfc.matching.matchers import known_to, match
from llfc.networks.store import Store
from llfc.specs import Trial, permutation_name
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform
from llfc.symmetry.transform.transform import PARTS
from llfc.tasks import Task

PERMUTATIONS = "permutations"
OF_TRANSFORMS = tuple(f"{part}/" for part in PARTS)  # names of their tensors begin with


def cached_permutation(
    trial: Trial,
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    images: Iterable[Tensor],
    store: Store,
    task: Task,
) -> Permutation | Transform:
    """The map of units that `trial` asks for, and its record; from `store` if it is there.

    It is cached under the names of the pair and the matcher, the number of images, the count of
    changes of method, and a digest of both networks' weights and of the spec: networks that were
    trained again, elsewhere, are matched again, and so are those of which more is known to move.

    Args:
        trial: which pair and which matcher; the pair's seed is the matcher's.
        a: the pair's first network.
        b: the pair's second network, whose units are permuted or mixed.
        spec: the symmetry of both.
        images: the trial's training images in batches, for matchers that look at features.
        store: where permutations and transforms are cached; one that is damaged is found again.
        task: what the networks are for.

    Raises:
        ValueError: as `match` does, or if the store cannot be written.
    """
    name = f"{permutation_name(trial)}-{_digest(spec, a, b)}"
    cached = store.get_tensors(PERMUTATIONS, name)
    if cached is not None:
        mixed = any(key.startswith(OF_TRANSFORMS) for key in cached)
        return Transform.from_tensors(cached, spec) if mixed else Permutation.from_tensors(cached)
    known = known_to(trial.matching, task)
    found = match(trial.matching, a, b, spec, images, trial.pair.seed, **known)
    record = {"matching": trial.matching, "pair": to_plain(trial.pair)}
    store.put_tensors(PERMUTATIONS, name, found.to_tensors(), record)
    return found


def _digest(spec: PermutationSpec, *models: nn.Module) -> str:
    """Eight bytes in hexadecimal that change with the spec and with any number in the models."""
    known = repr((spec.groups, spec.axes, spec.features))
    digest = hashlib.blake2b(known.encode(), digest_size=8)
    for model in models:
        for name, tensor in model.state_dict().items():
            digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            numbers = tensor.cpu().resolve_conj().contiguous().reshape(-1)
            digest.update(numbers.view(torch.uint8).numpy().data)
    return digest.hexdigest()
