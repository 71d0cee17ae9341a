"""`python -m analysis`: the results of sweeps, as a summary, a report, tables and notebooks."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from nbclient.exceptions import CellExecutionError

from analysis.answers.exports import EXPORTS, SAID, TableOptions, check_options, export
from analysis.answers.tables import once, short, to_text
from analysis.execute import NOTEBOOKS, execute
from analysis.narrowing import TRIED, asking, narrowed
from analysis.page.across import page_across
from analysis.page.provenance import warnings
from analysis.page.report import page_of, write_report
from analysis.page.summary import summary_text
from analysis.runs.database import DEFAULT_URI
from analysis.runs.files import write_frame
from analysis.runs.frames import Runs
from analysis.runs.mlflow import load_sweeps, sweep_names
from analysis.runs.server import without_password
from analysis.runs.stored import write_frames
from analysis.statistics.partial import GIVEN
from llfc.names import counted, lookup
from llfc.oneline import with_its_type


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`; 2, and one line on standard error, if that fails."""
    options = _parser().parse_args(argv)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"python -m analysis: {error}", file=sys.stderr)
        return 2
    return 0


def _load(options: argparse.Namespace) -> Runs:
    (runs,) = narrowed([load_sweeps(options.tracking_uri, _names(options))], options.where)
    return runs


def _names(options: argparse.Namespace) -> list[str]:
    """The sweeps that are asked for, each once."""
    if options.sweep != [ALL]:
        return list(dict.fromkeys(options.sweep))
    return asking(_known(options.tracking_uri))


def _known(tracking_uris: Sequence[str]) -> list[str]:
    """All sweeps of the stores, of which there must be some."""
    known = dict.fromkeys(name for uri in tracking_uris for name in sweep_names(uri))
    if not known:
        stores = without_password(" ".join(tracking_uris))
        raise ValueError(f"there is no sweep in {stores}: run one first")
    return list(known)


def _summary(options: argparse.Namespace) -> None:
    print(summary_text(_load(options), options.x))


def _report(options: argparse.Namespace) -> None:
    names, called = _names(options), "+".join(dict.fromkeys(options.sweep))
    # A part of a sweep has a page of its own.
    part = re.sub(r"[^\w.=-]+", "_", "".join(f"-{condition}" for condition in options.where))
    out = options.out or Path(f"runs/reports/{called}{part}.html")
    if len(names) == 1:
        runs = _load(options)
        written = write_report(page_of(runs, options.x), out)
    elif options.x:
        raise ValueError(f"--x needs a report of a single sweep, got {len(names)} sweeps")
    else:
        sweeps = [load_sweeps(options.tracking_uri, [name]) for name in names]
        page = page_across(narrowed(sweeps, options.where), called)
        # The pages of single sweeps that lie beside this one.
        own = [out.with_name(f"{name}.html") for name in names]
        written = write_report(page, out, {path.stem: path.name for path in own if path.is_file()})
        runs = page.runs
    print(f"{summary_text(runs, options.x)}\n\nreport: {written}")


def _table(options: argparse.Namespace) -> None:
    asked: dict[str, Any] = {
        field.name: tuple(value) if isinstance(value, list) else value
        for field in fields(TableOptions)
        if (value := getattr(options, field.name, None)) is not None
    }
    check_options(options.name, asked)
    if options.out and not options.out.absolute().parent.is_dir():
        raise ValueError(f"{options.out}: there is no folder {options.out.parent}")
    runs = _load(options)
    frame = export(runs, options.name, TableOptions(**asked))
    for column in options.columns or ():
        lookup("column", column, dict.fromkeys(map(str, frame.columns)))
    frame = frame[options.columns] if options.columns else frame
    if options.out:
        print(f"{counted(len(frame), 'row')}: {write_frame(frame, options.out)}")
    else:
        said, rest = once(frame)
        print(*said, to_text(rest), sep="\n\n")
    print(*warnings(runs), sep="\n", file=sys.stderr, end="\n" * bool(warnings(runs)))


def _frames(options: argparse.Namespace) -> None:
    for path in write_frames(_load(options), options.out):
        print(path)


def _verify(options: argparse.Namespace) -> None:
    from analysis.reference.verification import OUTSIDE, verify

    trials = _load(options).trials
    if trials.empty:
        raise ValueError(f"verify needs a finished trial, but {' '.join(options.sweep)} has none")
    given = (options.storage, options.data_root, options.seed, options.dataset)
    found = verify(trials, options.cell, *given)
    print(to_text(found.map(short)))
    outside = int((found["verdict"] == OUTSIDE).sum())
    if outside:
        raise SystemExit(f"{outside} of {len(found)} numbers are outside")


def _notebooks(options: argparse.Namespace) -> None:
    known = _known([options.tracking_uri])
    for name in known:  # a store that cannot be read is said at once, not by each notebook
        load_sweeps([options.tracking_uri], [name])
    os.environ["MLFLOW_TRACKING_URI"] = options.tracking_uri
    failed = []
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        # A notebook named after a sweep reads that sweep; the others read all of them.
        if notebook.stem not in known and notebook.stem not in ACROSS:
            print(f"{notebook.name}: no sweep {notebook.stem} in {options.tracking_uri}")
            continue
        try:
            print(execute(notebook, options.out))
        except CellExecutionError as error:
            failed.append(f"notebook {notebook.name} failed: {error.ename}: {error.evalue}")
        except (AssertionError, RuntimeError) as error:  # of nbclient, whose kernel was lost
            failed.append(f"notebook {notebook.name} failed: {with_its_type(error)}")
    if failed:
        raise ValueError("; ".join(failed))


# Stands for every sweep in the stores.
ALL = "all"
# Notebooks over all sweeps.
ACROSS = ("correlations", "layers")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    usual = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    where = (
        "MLflow's store, or a folder of frames"
        " (default: $MLFLOW_TRACKING_URI, otherwise %(default)s)"
    )
    sweep = _Parser(add_help=False)
    sweep.add_argument(
        "--tracking-uri", nargs="+", default=[usual], help=where.replace("store", "stores")
    )
    names = (
        f"names of sweeps, such as width, or all (but {TRIED}); several are pooled, each trial"
        " counted once"
    )
    sweep.add_argument("--sweep", required=True, nargs="+", help=names)
    only = (
        "only trials with this value, such as dataset=cifar10 matching=none matching=weights;"
        " several of one axis are alternatives (default: all trials)"
    )
    sweep.add_argument("--where", nargs="+", default=[], metavar="AXIS=VALUE", help=only)
    sweep.add_argument(
        "--x",
        metavar="AXIS",
        help="the x axis, and the axis of onsets and powers (default: the sweep's)",
    )
    what = "print the answer and its tables"
    command = commands.add_parser("summary", parents=[sweep], help=what, description=what)
    command.set_defaults(run=_summary)
    what = "as summary; also write one self-contained HTML page, its figures and its tables"
    command = commands.add_parser("report", parents=[sweep], help=what, description=what)
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: runs/reports/SWEEP.html)"
    )
    command.set_defaults(run=_report)
    what = "print one table of numbers, or write it as CSV or Parquet"
    tables = "\n".join(f"  {name:<20}{SAID[name]}" for name in EXPORTS)
    command = commands.add_parser(
        "table",
        parents=[sweep],
        help=what,
        description=what,
        epilog=f"tables:\n{tables}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_table_options(command)
    command.set_defaults(run=_table)
    what = "write the trials as Parquet frames to a folder, which --tracking-uri can read"
    command = commands.add_parser("frames", parents=[sweep], help=what, description=what)
    command.add_argument("--out", type=Path, metavar="FOLDER", required=True)
    command.set_defaults(run=_frames)
    what = "train and measure one cell of the grid anew, and compare its numbers"
    command = commands.add_parser("verify", parents=[sweep], help=what, description=what)
    _add_verify_options(command)
    command.set_defaults(run=_verify)
    what = "execute the notebooks of the sweeps in the store and save them with their outputs"
    command = commands.add_parser("notebooks", help=what, description=what)
    command.add_argument("--tracking-uri", default=usual, help=where)
    command.add_argument("--out", type=Path, metavar="FOLDER", default=Path("runs/notebooks"))
    command.set_defaults(run=_notebooks)
    return parser


def _add_verify_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cell", required=True, help="its name in `table reference`")
    command.add_argument(
        "--seed", type=int, nargs="+", help="which of its seeds to run (default: all)"
    )
    command.add_argument(
        "--storage",
        type=Path,
        metavar="FOLDER",
        default=Path("runs/verify"),
        help="networks are kept there (default: runs/verify)",
    )
    command.add_argument(
        "--data-root",
        type=Path,
        metavar="FOLDER",
        help="of torchvision's data sets (default: $LLFC_DATA, otherwise ~/.cache/llfc)",
    )
    command.add_argument(
        "--dataset",
        metavar="FILE:FUNCTION",
        help="where the cell's data set of one's own is now (default: in the storage)",
    )


def _add_table_options(command: argparse.ArgumentParser) -> None:
    usual = TableOptions()
    command.add_argument("name", metavar="TABLE", help="one of the tables below")
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=".csv or .parquet (default: print)",
    )
    command.add_argument(
        "--by",
        nargs="+",
        metavar="AXIS",
        help="axes to group by; a,b combines them (default: none)",
    )
    command.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="columns of the table (default: all)"
    )
    command.add_argument("--barrier", metavar="COLUMN", help="barrier (default: the table's own)")
    command.add_argument("--error", metavar="COLUMN", help=f"LLFC summary (default: {usual.error})")
    given = f"covariates to control for (default: {' '.join(GIVEN)})"
    command.add_argument("--given", nargs="+", metavar="COLUMN", help=given)
    hold_out = f"axis whose values are held out in turn (default: {usual.hold_out})"
    command.add_argument("--hold-out", metavar="AXIS", help=hold_out)
    threshold = f"barrier below which LMC holds (default: {usual.threshold:g})"
    command.add_argument("--threshold", type=float, help=threshold)
    permutations = "number of draws for permutation tests (default: none are run)"
    command.add_argument("--permutations", type=int, metavar="N", help=permutations)


if __name__ == "__main__":
    sys.exit(main())
