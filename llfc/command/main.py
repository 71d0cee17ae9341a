"""From the arguments to the exit status."""

import importlib
import sys
from collections.abc import Mapping, Sequence

import click

import llfc
from llfc.oneline import in_one_line
from llfc.progress.loading import loading

# What each is for, beside its module: `llfc --help` imports none of them.
COMMANDS: Mapping[str, str] = {
    "spec": "Derive the permutation symmetry of MODEL from its graph, and check it.",
    "match": "Permute the units of checkpoint B to align with A's, without changing its function.",
    "connect": "Match and measure every pair of checkpoints on the line between their weights.",
    "merge": "Merge checkpoints of one architecture into one, in the basis of the first.",
}


class Commands(click.Group):
    """The commands, each imported when it is asked for, as PyTorch takes seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"llfc.command.{cmd_name}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        with loading("PyTorch", "torch", quiet=not {"-q", "--quiet"}.isdisjoint(args)):
            return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(
    cls=Commands,
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
