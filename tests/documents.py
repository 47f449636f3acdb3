"""The documents, run as a reader would: specs are validated, commands and Python run, shown outputs compared.

In a page, in order and in one folder that holds `base.yaml`:

    ```yaml      a whole spec, or a fragment that extends base.yaml; "`NAME.yaml`:" before it is the file's name. It is
                 valid, unless "Wrong:" stands before it.
    ```console   commands. `ammgraph` runs in this process; what `torchrun` would run is parsed.
    ```python    runs, with the names of the blocks before it; a named file is written.
    ```text      after commands, after Python, or after a wrong spec: what is printed.

Tables between `<!-- NAME -->` and `<!-- end -->` are written by a function.
"""

import contextlib
import io
import re
import runpy
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ammgraph import cli

DOCS = Path(__file__).parent.parent / "ammgraph" / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def command(line: str) -> tuple[int, str]:
    """Exit code and everything printed by a command that a document shows."""
    words = shlex.split(line.partition(" > ")[0])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = 0
        if words[0] == "python":
            runpy.run_path(words[1])
        elif words[0] == "torchrun":
            cli.parsed(words[words.index("ammgraph") + 1 :])
        else:
            assert words[0] == "ammgraph", line
            try:
                code = cli.main(words[1:])
            except SystemExit as stop:  # argparse
                code = int(stop.code or 0)
    return code, printed.getvalue()


def refreshed(page: str, folder: Path, tables: Mapping[str, Callable[[], str]] | None = None) -> str:
    """The page with the outputs and tables that it shows as they are now.

    Args:
        page: the text of a document.
        folder: an empty folder, which is the current one.
        tables: writers of tables by name.
    """
    shutil.copy(DOCS / "base.yaml", folder)
    output = ""
    names: dict[str, object] = {}
    pieces, last = [], 0
    for block in BLOCK.finditer(page):
        kind, text = block[1], block[2]
        lead = page[last : block.start()].rstrip().rpartition("\n")[2]  # empty right behind another block
        pieces.append(page[last : block.start()])
        last = block.end()
        if kind == "text" and output and not lead:
            text = output.rstrip() + "\n"
        elif kind == "yaml":
            output = _spec(text, lead, folder)
        elif kind == "console":
            output = _commands(text, wrong=lead == "Wrong:")
        elif kind == "python":
            output = _python(text, lead, folder, names)
        output = "" if kind == "text" else output
        pieces.append(f"```{kind}\n{text}```")
    return with_tables("".join([*pieces, page[last:]]), tables or {})


def with_tables(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The page with its tables as they are now."""
    found = page
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        if begin in found:
            before, _, rest = found.partition(begin)
            found = f"{before}{begin}{table()}{end}{rest.partition(end)[2]}"
    return found


def _spec(text: str, lead: str, folder: Path) -> str:
    """Write and validate a spec; the message, without the line that counts, if it is a wrong one."""
    named = re.fullmatch(r".*`([\w-]+\.yaml)`.*:", lead)
    wrong = lead == "Wrong:"
    name = named[1] if named else "wrong.yaml" if wrong else "right.yaml" if lead == "Right:" else "example.yaml"
    whole = wrong or re.search(r"^(ammgraph|extends):", text, flags=re.MULTILINE)
    (folder / name).write_text(text if whole else f"extends: base.yaml\n{text}", encoding="utf-8")
    code, printed = command(f"ammgraph validate {name}")
    if wrong:
        return _message(printed)
    assert code == 0, f"{text}\n{printed}"
    assert "warning[" not in printed, printed
    return ""


def _commands(text: str, *, wrong: bool) -> str:
    outputs = []
    for line in text.splitlines():
        code, printed = command(line)
        assert code == (1 if wrong else 0), f"{line}\n{printed}"
        outputs.append(printed)
    return _message("".join(outputs)) if wrong else "".join(outputs)


def _message(printed: str) -> str:
    """What `validate` prints, without the lines at its end that count and name `ammgraph explain`."""
    return re.sub(r"\n?^[^\n]*\.yaml: (1 error|valid).*", "", printed, flags=re.DOTALL | re.MULTILINE)


def _python(text: str, lead: str, folder: Path, names: dict[str, object]) -> str:
    """Write a named file, or run what has no name and give what it prints."""
    named = re.fullmatch(r".*`([\w-]+\.py)`.*:", lead)
    if named:
        (folder / named[1]).write_text(text, encoding="utf-8")
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "document", "exec"), names)
    return printed.getvalue()
