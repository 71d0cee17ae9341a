"""From the arguments to the exit status."""

import sys
from collections.abc import Sequence

import click

import llfc
from llfc.command.connect import connect
from llfc.command.match import match
from llfc.command.merge import merge
from llfc.command.spec import spec
from llfc.oneline import in_one_line


@click.group(
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(llfc.__version__, prog_name="llfc")
def command() -> None:
    """Neural networks modulo their symmetry: match, connect and merge checkpoints.

    Two files and the model that they are of are enough:

    \b
    llfc match a.safetensors b.safetensors --model mine.py:build -o b-matched.safetensors
    llfc connect a.safetensors b.safetensors --model mine.py:build --data mine.py:load --out pair
    """  # noqa: D301


for _each in (spec, match, connect, merge):
    command.add_command(_each)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0, 2 with one line on what is refused, 130 on Ctrl-C."""
    try:
        status = command.main(
            args=None if arguments is None else list(arguments),
            prog_name="llfc",
            standalone_mode=False,
        )
        raise SystemExit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        _refuse(error.format_message())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _refuse(f"{where}{error.strerror or in_one_line(error)}")
    except ValueError as error:
        _refuse(in_one_line(error))
    except (KeyboardInterrupt, click.Abort):
        print("llfc: interrupted, and nothing is half-written", file=sys.stderr)
        raise SystemExit(130) from None


def _refuse(reason: str) -> None:
    print(f"llfc: {' '.join(reason.split())}", file=sys.stderr)
    raise SystemExit(2) from None
