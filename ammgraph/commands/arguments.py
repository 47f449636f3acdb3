"""What can be typed: the options of a verb are a frozen dataclass, whose fields say how each of them is typed.

`add_arguments` gives a parser the fields of a class, `read` makes a value of what was parsed, `spelled` is its inverse.
"""

import argparse
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ammgraph.commands import kinds

if TYPE_CHECKING:
    from ammgraph.runs.run import Place

T = TypeVar("T")


OF_KEYS = "of keys"  # an action: a value of each key, as `--set` has them


def option(what: str | None, *flags: str, default: Any = None, **how: Any) -> Any:
    """A field that is typed as `--its-name`, or as `flags`; `how` is argparse's."""
    if how.get("action") in ("append", OF_KEYS):
        default = ()
    return field(default=default, metadata={"flags": flags, "how": {"help": what, **how}})


def switch(what: str, *flags: str, default: bool = False) -> Any:
    """A field that is the other truth value where it is typed."""
    return option(what, *flags, default=default, action="store_false" if default else "store_true")


def positional(what: str | None, metavar: str, default: Any = None, **how: Any) -> Any:
    """A field that is typed without its name."""
    return field(default=default, metadata={"how": {"help": what, "metavar": metavar, **how}})


def add_arguments(parser: argparse.ArgumentParser, kind: type[Any]) -> None:
    """Let a parser take what the fields of `kind` say; one of those that say `either` must be given, and one alone."""
    group = None
    for found in typed_fields(kind):
        how = dict(found.metadata["how"])
        target: Any = parser
        if how.pop("either", False):
            target = group = group or parser.add_mutually_exclusive_group(required=True)
        if how.get("required"):
            how["action"] = _Once
        if how.get("action") == OF_KEYS:
            how["action"] = _OfKeys
        default = list(found.default) if isinstance(found.default, tuple) else found.default
        if "flags" in found.metadata:
            target.add_argument(*_flags(found), dest=found.name, default=default, **how)
        else:
            target.add_argument(found.name, default=default, **how)


class _Once(argparse.Action):
    """What must be typed is typed once: a second one would silently be the one that counts."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        if getattr(namespace, self.dest, self.default) != self.default:
            parser.error(f"argument {option_string}: given twice")
        setattr(namespace, self.dest, values)


class _OfKeys(argparse.Action):
    """Values of keys, as many as are typed, and one of each key."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        found = getattr(namespace, self.dest) or []
        key = _key_of(values)
        if key in map(_key_of, found):
            parser.error(f"argument {option_string}: `{key}` is set twice")
        setattr(namespace, self.dest, [*found, values])


def _key_of(value: Any) -> str:
    """The key of `a.b=3`, typed as a text or read as a pair."""
    return ".".join(map(str.strip, value.partition("=")[0].split("."))) if isinstance(value, str) else value[0]


def read(kind: type[T], parsed: argparse.Namespace) -> T:
    """The options of a verb; a field that is not typed has what the parser was told of it."""
    values = {found.name: getattr(parsed, found.name) for found in fields(kind) if found.name in parsed}  # type: ignore[arg-type]
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def spelled(options: Any) -> list[str]:
    """The words that are read as these options; what is as without words is left out."""
    words: list[str] = []
    for found in typed_fields(type(options)):
        value = getattr(options, found.name)
        if value == found.default:
            continue
        flag = _flags(found)[-1] if "flags" in found.metadata else ""
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, bool):
                words.append(flag)
            elif flag:
                words += [f"{flag}={each}"] if str(each).startswith("-") else [flag, str(each)]
            else:
                words.append(str(each))
    return words


def typed_fields(kind: type[Any]) -> list[Field[Any]]:
    """The fields that are typed."""
    return [found for found in fields(kind) if found.metadata]


def flags(kind: type[Any]) -> list[str]:
    """What can be typed with a dash."""
    return [flag for found in typed_fields(kind) if "flags" in found.metadata for flag in _flags(found)]


def _flags(found: Field[Any]) -> Sequence[str]:
    return found.metadata["flags"] or (f"--{found.name.replace('_', '-')}",)


# ------------------------------------------------------------------------------------------------ of several verbs


@dataclass(frozen=True)
class OfSpec:
    """Options of the verbs that read specs."""

    set: tuple[str, ...] = option(
        "write one value of the spec, after `extends`; `null` removes; may be repeated",
        action=OF_KEYS,
        metavar="A.B=VALUE",
    )
    allow_outside: bool = switch("let `extends` lead out of the spec's folder, in a spec you trust")


DEVICE = "auto, cpu, cuda or cuda:N (default: auto)"


@dataclass(frozen=True)
class OfData:
    """Options of the verbs that read a run's data."""

    data_dir: Path | None = option(
        "folder of the files of data sets with a name, and of relative `data.path`s", type=kinds.path, metavar="DIR"
    )
    download: bool = switch("never fetch a data set", "--no-download", default=True)
    device: str = option(DEVICE, default="auto")

    def place(self) -> "Place":
        """The device and the data, resolved."""
        from ammgraph.runs.run import Place, choose_device

        return Place(choose_device(self.device), self.data_dir, self.download)


@dataclass(frozen=True)
class OfScores(OfData):
    """Options of the verbs that score a run."""

    split: str | None = option("images to score (default: test, else train)", choices=("test", "validation", "train"))


@dataclass(frozen=True)
class Word:
    """What can be typed of a verb, for who completes it."""

    flags: tuple[str, ...]  # none of what is typed without a name
    help: str
    takes: bool  # a value
    choices: tuple[str, ...] = ()
    spec: bool = False  # one that ships, by its name


def words_of(kind: type[Any]) -> list[Word]:
    """Everything that a verb can be given, but what helps itself alone."""
    found = []
    for one in typed_fields(kind):
        how = one.metadata["how"]
        if how["help"] == argparse.SUPPRESS:
            continue
        names = tuple(_flags(one)) if "flags" in one.metadata else ()
        takes = not str(how.get("action", "")).startswith("store_")
        spec = how.get("type") in kinds.SPECS
        found.append(Word(names, how["help"] or "", takes, tuple(how.get("choices", ())), spec))
    return found


def run() -> Any:
    """A run directory."""
    return positional("a run directory, as in runs/amm_digits-1", "RUN", type=kinds.path)


def output(what: str, default: str | None = None) -> Any:
    """The file that a verb writes."""
    return option(what, type=kinds.path, default=Path(default) if default else None, metavar="FILE")


def force() -> Any:
    """Whether a foreign file may be replaced."""
    return switch("replace the file, also where no command like this one has written it")


def form() -> Any:
    """Text for people, or JSON for tools."""
    return option(None, choices=("text", "json"), default="text")
