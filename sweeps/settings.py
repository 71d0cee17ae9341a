"""How and where a sweep runs: everything that does not decide what its numbers are."""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path


def _described(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a sweep keeps things and what share of the machine a worker gets."""

    storage: str = field(
        default="runs",
        metadata=_described(
            "folder of trained networks, results, MLflow's database and reports; a URI, such as"
            " s3://bucket/folder, holds networks and results, and the rest is in ./runs"
        ),
    )
    tracking_uri: str | None = field(
        default=None,
        metadata=_described(
            "MLflow's address; else the environment's MLFLOW_TRACKING_URI, else sqlite in storage"
        ),
    )
    data_root: Path | None = field(
        default=None,
        metadata=_described(
            "folder of torchvision's data sets; else LLFC_DATA, else ~/.cache/llfc"
        ),
    )
    device: str = field(
        default="auto", metadata=_described("auto, cpu or cuda: where workers compute")
    )
    cpus_per_trial: int = field(
        default=1, metadata=_described("CPU cores, and torch threads, of a worker")
    )
    gpus_per_trial: float | None = field(
        default=None,
        metadata=_described("share of a GPU of a worker; by default 1/4 if there is a GPU"),
    )
    address: str | None = field(
        default=None,
        metadata=_described("address of a running Ray cluster; by default this machine alone"),
    )

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device must be auto, cpu or cuda, got {self.device!r}")
        if self.cpus_per_trial < 1:
            raise ValueError(f"cpus_per_trial must be at least 1, got {self.cpus_per_trial}")
        gpus = self.gpus_per_trial
        if gpus is not None and not (math.isfinite(gpus) and gpus >= 0):
            raise ValueError(f"gpus_per_trial must be a number >= 0, got {gpus}")

    @property
    def folder(self) -> Path:
        """Where this process keeps what is its own: MLflow's database, reports, decoded images."""
        return Path("runs" if "://" in self.storage else self.storage).absolute()

    @property
    def tracking(self) -> str:
        """MLflow's address, from the option, the environment, or the storage folder."""
        given = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        return given or f"sqlite:///{self.folder}/mlflow.db"

    @property
    def store(self) -> str:
        """Where trained networks and results are kept: a folder or a URI."""
        remote = "://" in self.storage
        return f"{self.storage.rstrip('/')}/store" if remote else str(self.folder / "store")

    @property
    def cache(self) -> Path:
        """Where image folders are kept once decoded."""
        return self.folder / "data"
