"""Execute the notebooks from top to bottom and save them with their outputs."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

NOTEBOOKS = Path(__file__).parent / "notebooks"
# A notebook reads runs and draws; one that takes longer hangs.
SECONDS = 600


def execute(notebook: Path, out: Path) -> Path:
    """Run `notebook`, write it with its outputs into the folder `out`, and return that file.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    content = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    with TemporaryDirectory() as folder:
        # Over sockets in a folder of the user's own: others on the machine cannot listen.
        private = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        NotebookClient(content, kernel_name="python3", config=private, timeout=SECONDS).execute()
    out.mkdir(parents=True, exist_ok=True)
    written = out / notebook.name
    nbformat.write(content, written)  # type: ignore[no-untyped-call]
    return written
