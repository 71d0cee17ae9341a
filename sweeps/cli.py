"""The command line of a sweep: from its arguments to the exit status."""

import sys
from collections.abc import Sequence

from sweeps.grid.sweep import Sweep


def main(sweep: Sweep, arguments: Sequence[str] | None = None) -> None:
    """Run `sweep` as `arguments` change it.

    Exits with 0 if every trial has its run, 1 if some failed, 2 on bad input, 130 on Ctrl-C.
    """
    try:
        # Imported inside the try: PyTorch, Ray and MLflow take seconds to load, in which Ctrl-C is
        # caught; and a wrong option is reported without waiting for the latter two.
        from sweeps.grid.options import parse

        settings, changed, trials = parse(sweep, arguments)
        from sweeps.run.study import run_sweep

        status = run_sweep(changed, trials, settings)
    except (ValueError, OSError) as error:  # before llfc.oneline is loaded, perhaps
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        status = 130
    if status == 130:
        print("interrupted: run the same command again to finish the rest", file=sys.stderr)
    raise SystemExit(status)
