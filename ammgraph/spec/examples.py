"""What the value of a key looks like: the example that the schema has of it, as it is written in YAML."""

import json
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from ammgraph.spec.notation import number_text
from ammgraph.spec.schema import Spec
from ammgraph.spec.source import Path

# Words that YAML reads as texts, also within a list.
_PLAIN = re.compile(r"(?!(true|false|null)$)[A-Za-z][\w.() |/*+-]*")


def example_at(path: Path) -> Any:
    """The example of the value at a path, or None; of an entry by name or number that of the first one."""
    found: Any = None
    kinds: list[Any] = [Spec]
    for key in path:
        inside: list[Any] = []
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                fields = kind.model_fields.items()
                field = next((field for name, field in fields if key in (name, field.alias)), None)
                if field is not None:
                    found = next(iter(field.examples or ()), None)
                    inside += _parts(field.annotation)
            else:
                found = _first(found)
                inside += _parts(get_args(kind)[-1 if get_origin(kind) is dict else 0])
        kinds = inside
    return found


def flow(value: Any) -> str:
    """A value as YAML writes it in one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{flow(key)}: {flow(entry)}' for key, entry in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value)
    return number_text(value) if isinstance(value, float) else json.dumps(value)


def _parts(annotation: Any) -> Iterator[Any]:
    """The models, mappings and lists of which it may be one."""
    origin = get_origin(annotation)
    if origin in (dict, tuple) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield annotation
    elif origin in (Annotated, Union, UnionType):
        parts = get_args(annotation)
        for part in parts[:1] if origin is Annotated else parts:
            yield from _parts(part)


def _first(example: Any) -> Any:
    entries = tuple(example.values()) if isinstance(example, Mapping) else example
    return entries[0] if isinstance(entries, list | tuple) and entries else None
