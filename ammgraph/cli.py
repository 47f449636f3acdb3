"""The verbs and their exit codes: 0 good, 1 the spec or the run is wrong, 2 usage, 3 a bug of ours, 130 interrupted,
143 terminated, 129 the terminal was closed. Results go to stdout, everything else to stderr; only `commands/` prints.

A verb is a module of `commands/`, imported when it is asked for: `EXAMPLE`, the frozen `Options`, `run(options)`.
"""

import argparse
import atexit
import errno
import gc
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from ammgraph import __version__
from ammgraph.commands import arguments
from ammgraph.commands.compiled import more, told_at_once
from ammgraph.commands.verbs import VERBS
from ammgraph.diagnostics import RunError, SpecError, as_json, counted, is_out_of_memory, nearest
from ammgraph.terminal import close_output, guarded, one_line, open_streams

# What argparse says, with the word that was typed and, where there are some, those that it could be.
_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")
_UNKNOWN = re.compile(r"unrecognized arguments: (?:.* )??(--[\w-]+)")
TUTORIAL = Path(__file__).parent / "docs" / "tutorial.md"


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    open_streams()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)  # else Python looks for cycles in all of torch before it ends: seconds on a busy machine
    run, options = parsed(sys.argv[1:] if words is None else words)
    logger, handler = logging.getLogger("ammgraph"), _ToStderr()
    logger.addHandler(handler)
    try:
        with guarded():
            return _exit_code(partial(run, options), getattr(options, "format", "text"))
    finally:
        logger.removeHandler(handler)


def parsed(words: Sequence[str]) -> tuple[Callable[[Any], int], Any]:
    """What is to be run, and the options that it is given.

    Raises:
        SystemExit: as argparse, after a message or help.
    """
    parser = _Parser(
        prog="ammgraph",
        description="A declarative compiler for adversarial latent-variable models.",
        epilog=f"Example: ammgraph train specs/amm_digits.yaml\nBegin with {TUTORIAL}",
    )
    parser.add_argument("--version", action="version", version=f"ammgraph {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    asked = next((word for word in words if word in VERBS), "")
    module = import_module(f"ammgraph.commands.{asked}") if asked else None
    for verb, summary in VERBS.items():
        found = verbs.add_parser(verb, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if module is not None and verb == asked:
            found.epilog = f"Example: {module.EXAMPLE}"
            arguments.add_arguments(found, module.Options)
            parser.known = [*arguments.flags(module.Options), "--help"]
    namespace = parser.parse_args(words, argparse.Namespace(typed=list(words)))
    assert module is not None  # without a verb that is known the parser has left
    return module.run, arguments.read(module.Options, namespace)


class _Parser(argparse.ArgumentParser):
    """Keeps examples as they are written, at a width that does not depend on the terminal.

    Says what was typed wrong without sending it to the terminal: names of files may be a stranger's. A word that is
    near one that is known is told with that one.
    """

    known: Sequence[str] = ()  # options, of which one may be meant where another was typed

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        hint = self._meant(message)
        super().error(one_line(f"{message}; {hint}" if hint else message))

    def _meant(self, message: str) -> str:
        if found := _CHOICE.search(message):
            return nearest(found[1], re.findall(r"'?([^\s',]+)'?", found[2]))
        if found := _UNKNOWN.search(message):
            return nearest(found[1], self.known)
        return ""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)


def _exit_code(run: Callable[[], int], form: str) -> int:
    try:
        code = run()
        sys.stdout.flush()
        return code
    except SpecError as error:
        _print_diagnostics(told_at_once(error), form)
        return 1
    except RunError as error:
        print("error: " + "\n".join(map(one_line, error.lines)), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone: no error of ours, and nothing more can be said to it.
        close_output()
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"error: {error}", file=sys.stderr)
            return 1
        if is_out_of_memory(error):
            reason = str(error).partition("\n")[0]
            print(f"error: out of memory{f': {reason}' if reason else ''}", file=sys.stderr)
            return 1
        traceback.print_exc()
        print(
            f"this is a bug in ammgraph {__version__}: please report it with the spec and the lines above",
            file=sys.stderr,
        )
        return 3


def _print_diagnostics(error: SpecError, form: str) -> None:
    if form == "json":
        print(json.dumps([as_json(diagnostic) for diagnostic in error.diagnostics], indent=1))
    else:
        print(f"{error}\n\n{counted(len(error.diagnostics), 'error')}; {more(error.diagnostics)}", file=sys.stderr)


class _ToStderr(logging.Handler):
    """What a room has to say beside its result."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{record.levelname.lower()}: {one_line(record.getMessage())}", file=sys.stderr)
