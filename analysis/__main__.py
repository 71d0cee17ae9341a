"""`python -m analysis`: a sweep's summary, report or notebook, from the shell."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nbclient.exceptions import CellExecutionError

from analysis.execute import NOTEBOOKS, execute
from analysis.report import summary_text, write_report
from analysis.runs import DEFAULT_URI, load_runs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`; 2 and one line on standard error if it cannot be done."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"python -m analysis: {error}", file=sys.stderr)
        return 2
    return 0


def _summary(options: argparse.Namespace) -> None:
    print(summary_text(load_runs(options.tracking_uri, options.sweep), options.x))


def _report(options: argparse.Namespace) -> None:
    runs = load_runs(options.tracking_uri, options.sweep)
    page = write_report(runs, options.out or Path(f"runs/reports/{options.sweep}.html"), options.x)
    print(f"{summary_text(runs, options.x)}\n\nreport: {page}")


def _notebooks(options: argparse.Namespace) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = options.tracking_uri
    load_runs(options.tracking_uri, "width")  # says in one line what a notebook would in forty
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        try:
            print(execute(notebook, options.out))
        except CellExecutionError as error:
            raise ValueError(
                f"notebook {notebook.name} failed: {error.ename}: {error.evalue}"
            ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    store = argparse.ArgumentParser(add_help=False)
    store.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI,
        help="MLflow's store (default: MLFLOW_TRACKING_URI, then %(default)s)",
    )
    sweep = argparse.ArgumentParser(add_help=False)
    sweep.add_argument("--sweep", required=True, help="the sweep's name, such as width")
    sweep.add_argument("--x", metavar="AXIS", help="x axis of the figures (default: the sweep's)")
    what = "print the answer and its tables"
    command = commands.add_parser("summary", parents=[store, sweep], help=what, description=what)
    command.set_defaults(run=_summary)
    what = "print them and write one self-contained HTML page"
    command = commands.add_parser("report", parents=[store, sweep], help=what, description=what)
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="(default: runs/reports/SWEEP.html)"
    )
    command.set_defaults(run=_report)
    what = "run the notebooks and keep what they show"
    command = commands.add_parser("notebooks", parents=[store], help=what, description=what)
    command.add_argument("--out", type=Path, metavar="FOLDER", default=Path("runs/notebooks"))
    command.set_defaults(run=_notebooks)
    return parser


if __name__ == "__main__":
    sys.exit(main())
