"""A sweep's answer at its end: on the screen, as a page, and with its own run."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.page.report import page_of, write_report
from analysis.page.summary import summary_text
from analysis.runs import schema
from analysis.runs.files import write_bytes
from sweeps.grid.sweep import Sweep

if TYPE_CHECKING:
    from analysis.runs.frames import Runs
    from sweeps.record.tracking import Tracker


def report(sweep: Sweep, runs: "Runs", tracker: "Tracker", folder: Path) -> Path:
    """Print the answer of `runs`; write its page and log it, unless that has been done.

    Args:
        sweep: the question.
        runs: those of its trials that are there; at least one is finished.
        tracker: its own run keeps the page, and says which runs and which code made it.
        folder: where the page lies, with its copies and the printed text in a folder beside it.

    Returns:
        The page's path.
    """
    page = folder / f"{sweep.name}.html"
    text = page.with_suffix("") / "summary.txt"
    source = _digest(sweep.x, runs, tracker.provenance)
    if not (tracker.reported() == source and page.is_file() and text.is_file()):
        write_report(page_of(runs, sweep.x), page)
        write_bytes(summary_text(runs, sweep.x).encode(), text)
        tracker.log_report(page, source)
    print(text.read_text())
    return page


def _digest(x: str, runs: "Runs", provenance: Mapping[str, str]) -> str:
    """Sixteen hex digits that change with whatever a page is made of: its runs, and the code."""
    unfinished = runs.unfinished[["fingerprint", "status", "attempts"]].to_numpy().tolist()
    content = [
        [x, runs.superseded, runs.outdated],
        # The sources too: a commit with changes is called the same after further changes.
        [provenance[tag] for tag in (schema.COMMIT, schema.SOURCES, schema.VERSIONS)],
        sorted(runs.trials["run_id"]),
        sorted(map(str, unfinished)),
    ]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
