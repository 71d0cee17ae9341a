"""`python -m analysis`: a sweep's report or summary, from the shell."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report import summary_text, write_report
from analysis.runs import DEFAULT_URI, load_runs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`; 2 and one line on standard error if it cannot be done."""
    options = _parser().parse_args(argv)
    try:
        runs = load_runs(options.tracking_uri, options.sweep)
        if options.command == "summary":
            print(summary_text(runs, options.x))
        else:
            out = options.out or Path("runs") / f"{options.sweep}.html"
            print(write_report(runs, out, options.x))
    except (ValueError, OSError) as error:
        print(f"python -m analysis: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in {
        "report": "write one self-contained HTML page",
        "summary": "print the answer and its tables",
    }.items():
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("--sweep", required=True, help="the sweep's name, such as width")
        command.add_argument(
            "--tracking-uri",
            default=os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI,
            help="MLflow's store (default: MLFLOW_TRACKING_URI, then %(default)s)",
        )
        command.add_argument("--x", help="the axis of the figures (default: the sweep's own)")
        if name == "report":
            command.add_argument(
                "--out", type=Path, help="the page (default: runs/SWEEP.html)", metavar="FILE"
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
