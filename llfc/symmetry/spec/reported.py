"""What a matcher reports of the map that it found, carried by the map itself."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor


class Reported:
    """A map of units, with what its matcher reports of it.

    Attributes:
        record: scalars that its matcher reports, such as `objective`; ignored by `==`.
        left_out: the groups that the matcher left in place as it found nothing to match them by,
            each with the reason; ignored by `==`.
        definitions: what of the matching holds under a condition only, with that condition; ignored
            by `==`.
    """

    record: Mapping[str, float]
    left_out: Mapping[str, str]
    definitions: Mapping[str, str]

    def _report(
        self,
        record: Mapping[str, float] | None,
        left_out: Mapping[str, str] | None,
        definitions: Mapping[str, str] | None,
    ) -> None:
        self.record = MappingProxyType(dict(record or {}))
        self.left_out = MappingProxyType(dict(left_out or {}))
        self.definitions = MappingProxyType(dict(definitions or {}))

    def _report_as_tensors(self) -> dict[str, Tensor]:
        """`record/NAME`, float64; `left_out/NAME` and `definitions/NAME` in UTF-8."""
        record = {
            f"record/{name}": torch.tensor(value, dtype=torch.float64)
            for name, value in self.record.items()
        }
        said = {"left_out": self.left_out, "definitions": self.definitions}
        reasons = {
            f"{part}/{name}": torch.tensor(list(reason.encode()), dtype=torch.uint8)
            for part, reasons in said.items()
            for name, reason in reasons.items()
        }
        return record | reasons


def report_of(
    parts: Mapping[str, Mapping[str, Tensor]],
) -> tuple[dict[str, float], dict[str, str], dict[str, str]]:
    """The record, what is left out and the definitions, of the parts of `tensors_by_part`."""
    record = {name: float(number) for name, number in parts["record"].items()}
    left_out, definitions = (
        {name: bytes(text.tolist()).decode() for name, text in parts[part].items()}
        for part in ("left_out", "definitions")
    )
    return record, left_out, definitions


def tensors_by_part(
    tensors: Mapping[str, Tensor], own: tuple[str, ...], what: str
) -> dict[str, dict[str, Tensor]]:
    """Tensors called `PART/NAME`, by part and name.

    Args:
        tensors: by such names.
        own: the parts beside those of the report.
        what: the parts are of.

    Raises:
        ValueError: a part is neither one of `own` nor of the report.
    """
    names = (*own, "record", "left_out", "definitions")
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        if part not in parts:
            raise ValueError(f"{key!r} is no part of a {what}")
        parts[part][name] = tensor
    return parts
