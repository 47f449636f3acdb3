"""Layer tables that fit: a factor and the sizes of its variables in, the rows of a network out.

Images shrink by convolutions of stride 2 to at most 7x7 and grow by the same steps, so that any square size is met.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ammgraph.spec.notation import Factor
from ammgraph.spec.source import scalar

Rows: TypeAlias = list[tuple[str, str]]  # name, columns

FIRST_CHANNELS, MOST_CHANNELS, HIDDEN, JOINED = 32, 256, 128, 256
SMALLEST = 7
LEAKY = "activation: leaky_relu 0.2"
NORMED = f"batchnorm: true, {LEAKY}"


@dataclass(frozen=True)
class Size:
    """A variable's kind and shape (channels, height, width); a `vector` is a real one that the data have."""

    kind: Literal["image", "vector", "categorical", "real"]
    shape: tuple[int, int, int]

    @property
    def observed(self) -> bool:
        """Whether a record of the data has it."""
        return self.kind in ("image", "vector")


def size_text(shape: tuple[int, int, int]) -> str:
    """(1, 28, 28) -> `1x28x28`."""
    return "x".join(map(str, shape))


def factor_rows(factor: Factor, sizes: Mapping[str, Size], constants: Mapping[str, str], deterministic: bool) -> Rows:
    """The network of `q(z|x,y)`: features of each image, joined with the vectors, two hidden rows, the head.

    Args:
        factor: one variable and its conditions.
        sizes: of every variable of the model, whose names no row may have.
        constants: vector -> the constant that holds its size.
        deterministic: whether a real variable is a function of the conditions, without noise.
    """
    fresh = _fresh_names(sizes)
    variable = factor.variables[0]
    if is_mixture(factor, sizes) and not deterministic:
        return _component_rows(factor, constants[variable], fresh)
    rows, read = _features(factor.given, sizes, fresh, NORMED)
    hidden = [fresh("h1"), fresh("h2")]
    rows.append((hidden[0], f"input: {_value(' | '.join(read))}, channels: {HIDDEN}, width: 1, {NORMED}"))
    rows.append((hidden[1], f"input: {hidden[0]}, channels: {HIDDEN}, width: 1, {NORMED}"))
    last = hidden[1]
    if sizes[variable].kind == "image":
        return rows + _growing(variable, last, sizes[variable].shape, fresh)
    size = constants[variable]
    if sizes[variable].kind == "categorical":
        logits = fresh(f"{variable}_logits")
        # Normed logits have the same spread over a batch for every category, so that none is left without images.
        rows.append((logits, f"input: {last}, channels: {size}, width: 1, batchnorm: true"))
        # One-hot forward: a softmax vector would tell the discriminator which side it comes from.
        rows.append((variable, f"input: {logits}, activation: gumbel_straight_through 1"))
    elif deterministic or sizes[variable].kind == "vector":
        rows.append((variable, f"input: {last}, channels: {size}, width: 1"))
    else:
        mean, noise = fresh(f"{variable}_mu"), fresh(f"{variable}_sigma")
        rows.append((mean, f"input: {last}, channels: {size}, width: 1"))
        rows.append((noise, f"input: {last}, channels: {size}, width: 1, activation: expn"))
        rows.append((variable, f"input: {mean} + {noise}"))
    return rows


def is_mixture(factor: Factor, sizes: Mapping[str, Size]) -> bool:
    """Whether a factor gives each category a component: `p(z|y)`, z real and y categorical."""
    return (
        bool(factor.given)
        and all(sizes[name].kind == "categorical" for name in factor.given)
        and (sizes[factor.variables[0]].kind == "real")
    )


def _component_rows(factor: Factor, size: str, fresh: Callable[[str], str]) -> Rows:
    """Components of variance 1 around means that start apart: where means start together, components overlap."""
    variable = factor.variables[0]
    mean, noise = fresh(f"{variable}_mu"), fresh(f"{variable}_sigma")
    spread = "bias: false, initializer: {weights: {normal: 1.5}}"
    return [
        (mean, f"input: {_value(' | '.join(factor.given))}, channels: {size}, width: 1, {spread}"),
        (noise, f"input: zeros({size}), activation: expn"),
        (variable, f"input: {mean} + {noise}"),
    ]


def critic_rows(read: Sequence[str], sizes: Mapping[str, Size]) -> Rows:
    """A joint discriminator; the last row is its logit. No batch norm: a penalty takes each example's own gradient."""
    fresh = _fresh_names(sizes)
    rows, features = _features(read, sizes, fresh, LEAKY)
    joined = []
    for name, feature in zip(read, features, strict=True):
        if sizes[name].kind != "image":
            rows.append((fresh(f"{name}_h"), f"input: {_value(feature)}, channels: {HIDDEN}, width: 1, {LEAKY}"))
            feature = rows[-1][0]
        joined.append(feature)
    first, second = fresh("h1"), fresh("h2")
    rows.append((first, f"input: {_value(' | '.join(joined))}, channels: {JOINED}, width: 1, {LEAKY}"))
    rows.append((second, f"input: {first}, channels: {JOINED}, width: 1, {LEAKY}"))
    rows.append((fresh("logit"), f"input: {second}, channels: 1, width: 1"))
    return rows


def _fresh_names(sizes: Mapping[str, Size]) -> Callable[[str], str]:
    """A giver of names that no variable and no other row of the table has."""
    taken = {*sizes, "zeros"}

    def fresh(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    return fresh


def _features(
    names: Sequence[str], sizes: Mapping[str, Size], fresh: Callable[[str], str], ends: str
) -> tuple[Rows, list[str]]:
    """Rows that make a vector of each image, and what then stands for each variable."""
    rows: Rows = []
    read = []
    for name in names:
        if sizes[name].kind == "image":
            shrinking = _shrinking(name, sizes[name].shape, fresh, ends)
            rows += shrinking
            read.append(shrinking[-1][0])
        else:
            read.append(name)
    return rows, read


def _shrinking(image: str, shape: tuple[int, int, int], fresh: Callable[[str], str], ends: str) -> Rows:
    """Convolutions with stride 2, n -> n // 2, then one linear row."""
    rows: Rows = []
    _, height, width = shape
    channels, last = FIRST_CHANNELS, _value(image)
    while max(height, width) > SMALLEST and min(height, width) >= 2:
        name = fresh(f"{image}{len(rows) + 1}")
        rows.append((name, f"input: {last}, channels: {channels}, width: 4, stride: 2, padding: 1, {ends}"))
        height, width, channels, last = height // 2, width // 2, min(2 * channels, MOST_CHANNELS), name
    rows.append((fresh(f"{image}{len(rows) + 1}"), f"input: {last}, op: linear, channels: {HIDDEN}, {ends}"))
    return rows


def _growing(image: str, last: str, shape: tuple[int, int, int], fresh: Callable[[str], str]) -> Rows:
    """Transposed convolutions from 1x1 to the image: first to at most 7x7, then n -> 2n, or 2n + 1 to an odd size."""
    kernels, sizes = [], list(shape[1:])
    while max(sizes) > SMALLEST:
        kernels.append(_kernel(*map(_doubling, sizes)))
        sizes = [size // 2 if size > SMALLEST else size for size in sizes]
    kernels.append(_kernel(*((size, 1, 0) for size in sizes)))
    rows: Rows = []
    for depth in reversed(range(len(kernels))):
        opening = f"input: {last}, op: conv_transpose"
        if depth == 0:
            rows.append((image, f"{opening}, channels: {shape[0]}, {kernels[0]}, activation: sigmoid"))
        else:
            channels = min(FIRST_CHANNELS * 2 ** (depth - 1), MOST_CHANNELS)
            last = fresh(f"{image}{len(kernels) - depth}")
            rows.append((last, f"{opening}, channels: {channels}, {kernels[depth]}, {NORMED}"))
    return rows


def _doubling(size: int) -> tuple[int, int, int]:
    """Width, stride and padding that lead to a size from about half of it, or from itself where it is small."""
    if size <= SMALLEST:
        return (3, 1, 1)
    return (4, 2, 1) if size % 2 == 0 else (3, 2, 0)


def _kernel(*sides: tuple[int, int, int]) -> str:
    """Columns of a kernel, of a square or down and to the right, without what goes without saying."""
    said = []
    unsaid = {"width": 0, "stride": 1, "padding": 0}
    for (name, nothing), (down, right) in zip(unsaid.items(), zip(*sides, strict=True), strict=True):
        if (down, right) != (nothing, nothing):
            said.append(f"{name}: {down if down == right else [down, right]}")
    return ", ".join(said)


def _value(text: str) -> str:
    """A text as a YAML value: quoted where YAML would take it for something else, as `null`."""
    return text if scalar(text) == text else f'"{text}"'
