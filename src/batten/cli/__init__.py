"""The command line: `batten train`, `evaluate` and `predict`, `batten bench` and `batten info`.

What goes wrong for a reason that the user can do something about is one line on
stderr, and exit code 2; anything else is a bug, and shows its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from .bench import add_bench
from .bench import add_bench_options as add_bench_options
from .evaluate import add_evaluate
from .info import add_info, version
from .options import Parser as Parser
from .options import UserError as UserError
from .options import whole as whole
from .predict import add_predict
from .train import add_train

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, and returns its exit code."""
    return run(make_parser(), arguments)


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> int:
    """Runs the command that a parser finds, and returns its exit code."""
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn  # type: ignore[assignment]
            options.command(options)
        sys.stdout.flush()
    except UserError as error:
        print(f"batten: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("batten: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def warn(message: Warning | str, *_: object) -> None:
    """A warning is a line, too."""
    print(f"batten: {message}", file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="batten", description="Deep learning on the CPU.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"batten {version()}")
    parser.set_defaults(command=lambda options: parser.print_help())
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for add in (add_train, add_evaluate, add_predict, add_info, add_bench):
        add(commands)
    return parser
