"""What concerns more than one sweep: `python -m sweeps run --config study.toml`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeps import SWEEPS
from sweeps.cli import run
from sweeps.grid.study_file import sweeps_in


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what `arguments` say; exits as `sweeps.cli.run`."""
    parser = argparse.ArgumentParser(prog="python -m sweeps", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    study = commands.add_parser(
        "run", help="run every sweep of a study file", allow_abbrev=False, add_help=False
    )
    study.add_argument("--config", type=Path, required=True, metavar="FILE")
    given, others = parser.parse_known_args(arguments)
    try:
        sweeps = sweeps_in(given.config, SWEEPS)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    run(sweeps, ["--config", str(given.config), *others])


if __name__ == "__main__":
    main()
