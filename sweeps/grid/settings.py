"""How and where a sweep runs: everything that does not affect its numbers."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llfc.networks.checkpoints import SECONDS

# A file's name and an argument of every shell; two names are taken.
NAME = r"(?!(all|networks)$)[A-Za-z][\w-]*"
# The environment variables that are read for a setting that is not given.
ENVIRONMENT: Mapping[str, str] = {
    "storage": "LLFC_STORAGE",
    "gpus_per_trial": "LLFC_GPUS_PER_TRIAL",
    "memory_per_trial": "LLFC_MEMORY_PER_TRIAL",
    "address": "RAY_ADDRESS",
    "node_timeout": "LLFC_NODE_TIMEOUT",
}
WHOLE_GPU = 4  # networks at once: four ResNet-20 pass twice the images per second of one on an H200
GPU_SHARE = 0.25  # of a GPU per worker: the networks of most sweeps are far too small to fill one


def _direct(path: Path) -> Path:
    """`path`, absolute and without `..`; links are resolved only if there is a `..`."""
    return path.resolve() if ".." in path.parts else path.absolute()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where a sweep stores its files, and the resources that each worker gets.

    Attributes:
        name: name of the MLflow experiment and of the report of these trials; None for the sweep's
            own name.
        storage: folder for trained networks, results, MLflow's database and reports; on a cluster,
            one that all nodes can access, or a URI such as s3://bucket/folder for networks and
            results, with the rest in ./runs.
        tracking_uri: address of MLflow's tracking store; by default the environment variable
            MLFLOW_TRACKING_URI, otherwise sqlite in storage.
        data_root: folder of torchvision's data sets; by default the environment variable LLFC_DATA,
            otherwise ~/.cache/llfc.
        device: where workers compute: auto, cpu or cuda.
        cpus_per_trial: CPU cores, and torch threads, per worker.
        gpus_per_trial: GPUs per worker, or a fraction of one; None for GPU_SHARE where there is a
            GPU.
        networks_per_worker: networks that a worker trains at once, in threads of its process; None
            for WHOLE_GPU where it has a whole GPU, and 1 otherwise.
        memory_per_trial: main memory in GiB that Ray reserves per worker; None to reserve nothing.
        address: address of a running Ray cluster, HOST:PORT or auto; None for this machine only.
        node_timeout: seconds to wait for the first node of the cluster that is large enough for a
            worker.
        checkpoint_seconds: seconds between two kept states of a network in training, from which it
            goes on after a kill; more where writing them would take over 1 % of the time; inf for
            none.
        stop_after_failures: number of jobs that fail for good at which the sweep stops, as at
            Ctrl-C but with status 1; a job whose network failed is not counted; None to go on with
            what can be done.
        dry_run: only say what would be trained and measured, what is there already, and what it
            takes in core hours and disk; nothing is started or written.
    """

    name: str | None = None
    storage: str = "runs"
    tracking_uri: str | None = None
    data_root: Path | None = None
    device: str = "auto"
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    networks_per_worker: int | None = None
    memory_per_trial: float | None = None
    address: str | None = None
    node_timeout: float = 20.0
    checkpoint_seconds: float = SECONDS
    stop_after_failures: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.name is not None and not re.fullmatch(NAME, self.name):
            raise ValueError(
                "name must consist of letters, digits, - and _, begin with a letter, and be neither"
                f" 'all' nor 'networks', got {self.name!r}"
            )
        if ".." in str(self.folder).partition("?")[2]:
            raise ValueError(
                f"storage must not contain .. after a ?, got {self.folder}: MLflow reads what"
                " follows a ? as a query"
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device must be auto, cpu or cuda, got {self.device!r}")
        if self.cpus_per_trial < 1:
            raise ValueError(f"cpus_per_trial must be at least 1, got {self.cpus_per_trial}")
        self._check_gpus()
        if self.networks_per_worker is not None and self.networks_per_worker < 1:
            raise ValueError(
                f"networks_per_worker must be at least 1, got {self.networks_per_worker}"
            )
        memory = self.memory_per_trial
        if memory is not None and not (math.isfinite(memory) and memory > 0):
            raise ValueError(f"memory_per_trial must be a positive number of GiB, got {memory}")
        if not (math.isfinite(self.node_timeout) and self.node_timeout >= 0):
            raise ValueError(f"node_timeout must be a number >= 0, got {self.node_timeout}")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds must be >= 0, got {self.checkpoint_seconds}")
        if self.stop_after_failures is not None and self.stop_after_failures < 1:
            raise ValueError(
                f"stop_after_failures must be at least 1, got {self.stop_after_failures}"
            )
        if "://" in (self.address or ""):
            raise ValueError(
                f"address must be HOST:PORT or auto, got {self.address!r}: such an address accepts"
                " jobs (`ray job submit`), but a driver cannot join it"
            )

    def _check_gpus(self) -> None:
        gpus = self.gpus_per_trial
        if gpus is None:
            return
        # Ray allows fractions down to a ten-thousandth, and beyond one GPU whole numbers only.
        if not (gpus == 0 or 1e-4 <= gpus <= 1 or (gpus > 1 and float(gpus).is_integer())):
            raise ValueError(
                f"gpus_per_trial must be 0, a fraction of a GPU or a whole number, got {gpus}"
            )
        if gpus == 0 and self.device == "cuda":
            raise ValueError("gpus_per_trial must be more than 0 where device is cuda, got 0")

    @property
    def folder(self) -> Path:
        """The local folder: MLflow's database, reports, decoded images.

        Without `..`, which would create a needless folder on the way.
        """
        return _direct(Path("runs" if "://" in self.storage else self.storage).expanduser())

    @property
    def tracking(self) -> str:
        """MLflow's address, from the option, the environment, or the storage folder."""
        from analysis.runs.database import address_of  # sqlalchemy takes half a second to load

        given = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        return given or address_of(self.folder / "mlflow.db")

    @property
    def store(self) -> str:
        """Where trained networks and results are stored: a folder or a URI."""
        if self.storage.startswith("file://"):
            return f"file://{_direct(Path(self.storage.removeprefix('file://')))}/store"
        remote = "://" in self.storage
        return f"{self.storage.rstrip('/')}/store" if remote else str(self.folder / "store")

    @property
    def cache(self) -> Path:
        """Where image folders are cached once decoded."""
        return self.folder / "data"
