"""Which layers have a bias where none is written: all but those whose constants a norm subtracts again."""

from collections.abc import Mapping

from ammgraph.spec.notation import Named, Times, factors_of
from ammgraph.spec.schema import Row


def needs_bias(rows: Mapping[str, Row], name: str, outputs: frozenset[str]) -> bool:
    """A constant of a channel before such a norm is subtracted again: no bias where nothing else reads the row (R7)."""
    row = rows[name]
    if _removes_constants(row):
        return False
    readers = [other for other in rows.values() if any(atom.name == name for atom in other.names)]
    plain = row.activation is None and row.pool is None and row.upsample is None and row.norm is None
    plain = plain and name not in outputs
    return not (plain and readers and all(_subtracts(reader, name) for reader in readers))


def _subtracts(reader: Row, name: str) -> bool:
    """Whether a row subtracts what is added to each channel of another: no mask, factor or choice makes it uneven."""
    combines = reader.width is None and reader.op is None and not reader.dropout and reader.choose is None
    multiplied = (s for part in reader.input.parts for s in part if isinstance(s, Times))
    uneven = any(atom == Named(name) for product in multiplied for atom in factors_of(product))
    return _removes_constants(reader) and combines and not uneven


def _removes_constants(row: Row) -> bool:
    return bool(row.batchnorm) or (row.norm is not None and row.norm.kind.removes_constants)
