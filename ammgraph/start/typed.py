"""What stands after `ammgraph new`: two factorizations, the sizes of their variables, and whether they make a model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean, stop_if
from ammgraph.spec.data_sets import DATA_SETS, may_hold
from ammgraph.spec.notation import Factor, parse_factor
from ammgraph.spec.tokens import NotationError
from ammgraph.start.tables import Size, size_text

# A variable whose name begins so is of the data, or a category, unless an option says otherwise; any other one is real.
EXAMPLE_LETTERS, CATEGORICAL_LETTERS = ("x",), ("y", "c")
CATEGORIES, DIMENSIONS = 10, 64
VECTOR = 13  # numbers of a vector, where nothing says how many
DIMENSIONS_OF_VECTORS = 8  # of what is inferred from a vector
DATA = "mnist"  # where neither data nor the size of an image is given
DRAWN = {
    "image": "networks draw images without noise in any case",
    "vector": "networks draw vectors of the data without noise in any case",
    "categorical": "its row's activation says how a category is drawn; `straight_through` draws none but the likeliest",
}


@dataclass(frozen=True)
class Typed:
    """What stands after `ammgraph new`: each option as its text, sizes by the variable's name ("" is no name)."""

    q: str
    p: str
    image: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    vector: tuple[tuple[str, int], ...] = ()
    categorical: tuple[tuple[str, int], ...] = ()
    real: tuple[tuple[str, int], ...] = ()
    deterministic: tuple[str, ...] = ()
    data: str = ""
    term: tuple[str, ...] = ()
    game: bool = True

    @property
    def texts(self) -> dict[str, str]:
        """Option -> its lines, as diagnostics show them."""
        return {
            "--q": self.q,
            "--p": self.p,
            "--image": "\n".join(f"{name}:{size_text(shape)}".lstrip(":") for name, shape in self.image),
            "--vector": "\n".join(f"{name}:{size}".lstrip(":") for name, size in self.vector),
            "--categorical": "\n".join(f"{name}:{size}" for name, size in self.categorical),
            "--real": "\n".join(f"{name}:{size}" for name, size in self.real),
            "--deterministic": "\n".join(self.deterministic),
            "--data": self.data,
            "--term": "\n".join(self.term),
        }


@dataclass(frozen=True)
class Placed:
    """A factor and where it was typed."""

    factor: Factor
    span: Span


Sides: TypeAlias = Mapping[str, Sequence[Placed]]  # q, p


@dataclass(frozen=True)
class Factorizations:
    """What was typed, read: the factors of each side and every variable's size, those of the data first."""

    typed: Typed
    sides: Sides
    sizes: Mapping[str, Size]
    names: Mapping[str, Span]  # variable -> where it is typed first

    @property
    def labels(self) -> bool:
        """Whether some factor draws an example and its label."""
        return any(len(placed.factor.variables) > 1 for side in self.sides.values() for placed in side)

    @property
    def of_vectors(self) -> bool:
        """Whether the data are vectors."""
        return any(size.kind == "vector" for size in self.sizes.values())

    @property
    def dataset(self) -> str:
        """The data set that is named, else one whose images have the shape of the first image."""
        if not self.typed.data and self.of_vectors:
            return "npz"
        shapes = [size.shape for size in self.sizes.values() if size.kind == "image"]
        if self.typed.data or not shapes:
            return self.typed.data or DATA
        fetched = (name for name, known in DATA_SETS.items() if known.shape == shapes[0] and known.image_set is None)
        return next(fetched, "npz")

    def place_of(self, name: str) -> Span:
        """The option that gives a variable its size, else the first factor that has it."""
        typed = self.typed
        options = {"--image": typed.image, "--vector": typed.vector}
        options |= {"--categorical": typed.categorical, "--real": typed.real}
        for option, sized in options.items():
            lines = typed.texts[option].split("\n")
            for line, (named, _) in enumerate(sized, start=1):
                if named == name or (not named and name.startswith(EXAMPLE_LETTERS)):
                    return Span(option, line, 1, len(lines[line - 1]) + 1)
        return self.names[name]


def read_factorizations(typed: Typed) -> Factorizations:
    """The factorizations that are typed.

    Raises:
        SpecError: one is not in the notation, or an option names a variable that is in none.
    """
    problems: list[Diagnostic] = []
    sides = {head: list(_factors(getattr(typed, head), f"--{head}", problems)) for head in ("q", "p")}
    stop_if(problems, typed.texts)
    names = _variables(sides)
    kinds = ("image", "vector", "categorical", "real")
    sizes = {name: _size(typed, name) for name in names}
    sizes = {name: size for kind in kinds for name, size in sizes.items() if size.kind == kind}
    problems += _options_name_variables(typed, names)
    problems += _deterministic_ones_are_real(typed, sizes)
    problems += _factors_can_be_drawn(sides)
    problems += _data_are_read(sides, sizes)
    stop_if(problems, typed.texts)
    order = {name: index for index, name in enumerate(sizes)}
    return Factorizations(typed, {head: _canonical(side, order) for head, side in sides.items()}, sizes, names)


def _factors(text: str, option: str, problems: list[Diagnostic]) -> Iterator[Placed]:
    """The factors of `q(x) q(z|x)`, one after another."""
    start = 0
    seen: dict[Factor, Span] = {}
    while text[start:].strip():
        start += len(text[start:]) - len(text[start:].lstrip())
        end = text.find(")", start) + 1 or len(text)
        piece = text[start:end].rstrip()
        span = Span(option, 1, start + 1, start + 1 + len(piece))
        try:
            factor = parse_factor(piece)
        except NotationError as error:
            place = Span(option, 1, start + 1 + error.start, start + 1 + max(error.end, error.start + 1))
            problems.append(Diagnostic("notation", error.message, place, expected=error.expected, hint=error.hint))
            return
        if (same := factor.canonical({})) in seen:
            note = Note(f"`{factor}` is first written here", seen[same])
            problems.append(Diagnostic("duplicate-factor", f"`{factor}` is written twice", span, notes=(note,)))
        seen.setdefault(same, span)
        yield Placed(factor, span)
        start = end
    if not seen:
        message = f"`{option}` holds no factor"
        problems.append(
            Diagnostic("notation", message, Span(option, 1, 1, 2), expected="a product, as in `q(x) q(z|x)`")
        )


def _variables(sides: Sides) -> dict[str, Span]:
    """Variable -> where it is typed first."""
    found: dict[str, Span] = {}
    for placed in [placed for side in sides.values() for placed in side]:
        for name in placed.factor.variables + placed.factor.given:
            found.setdefault(name, placed.span)
    return found


def _size(typed: Typed, name: str) -> Size:
    """The size of a variable: as an option says, else by the letter that its name begins with."""
    named, known = dict(typed.image), DATA_SETS.get(typed.data)
    if name in named:
        return Size("image", named[name])
    if name in dict(typed.vector):
        return Size("vector", (dict(typed.vector)[name], 1, 1))
    if name in dict(typed.categorical):
        return Size("categorical", (dict(typed.categorical)[name], 1, 1))
    if name in dict(typed.real):
        return Size("real", (dict(typed.real)[name], 1, 1))
    if name.startswith(EXAMPLE_LETTERS):
        if _of_vectors(typed) and "" not in named:
            size = dict(typed.vector).get("")
            return Size("vector", known.shape if size is None and known else (size or VECTOR, 1, 1))
        return Size("image", named.get("", (known or DATA_SETS[DATA]).shape))
    if name.startswith(CATEGORICAL_LETTERS):
        return Size("categorical", (known.classes if known and known.classes else CATEGORIES, 1, 1))
    return Size("real", (DIMENSIONS_OF_VECTORS if _of_vectors(typed) else DIMENSIONS, 1, 1))


def _of_vectors(typed: Typed) -> bool:
    """Whether the data are vectors: as an option says, or as the data set alone has them."""
    return bool(typed.vector) or bool(typed.data and not may_hold(typed.data, "image"))


def _options_name_variables(typed: Typed, names: Mapping[str, Span]) -> Iterator[Diagnostic]:
    options: dict[str, Sequence[str]] = {
        "--image": [name for name, _ in typed.image],
        "--vector": [name for name, _ in typed.vector],
        "--categorical": [name for name, _ in typed.categorical],
        "--real": [name for name, _ in typed.real],
        "--deterministic": typed.deterministic,
    }
    for option, named in options.items():
        for line, name in enumerate(named, start=1):
            if name and name not in names:
                message = f"`{option}` names `{name}`, which no factor has"
                hint = did_you_mean(name, names)
                yield Diagnostic("unknown-variable", message, Span(option, line, 1, len(name) + 1), hint=hint)


def _deterministic_ones_are_real(typed: Typed, sizes: Mapping[str, Size]) -> Iterator[Diagnostic]:
    for line, name in enumerate(typed.deterministic, start=1):
        if name in sizes and sizes[name].kind != "real":
            yield Diagnostic(
                "wrong-type",
                f"`--deterministic` names `{name}`, which is {sizes[name].kind}",
                Span("--deterministic", line, 1, len(name) + 1),
                expected="a real variable",
                hint=DRAWN[sizes[name].kind],
            )


def _factors_can_be_drawn(sides: Sides) -> Iterator[Diagnostic]:
    """A network draws one variable."""
    for placed in [placed for side in sides.values() for placed in side]:
        head, variables, given = placed.factor.head, placed.factor.variables, placed.factor.given
        if len(variables) > 1 and given:
            chain = [Factor(head, (name,), given + variables[:place]) for place, name in enumerate(variables)]
            yield Diagnostic(
                "wrong-origin",
                f"`{placed.factor}` draws {len(variables)} variables at once, which only data can",
                placed.span,
                expected="one factor for each variable",
                hint=f"as in `{' '.join(map(str, chain))}`",
            )


def _data_are_read(sides: Sides, sizes: Mapping[str, Size]) -> Iterator[Diagnostic]:
    """Some factor without conditions draws an example, or several variables at once: what only data can draw."""
    roots = [placed for side in sides.values() for placed in side if not placed.factor.given]
    if any(len(root.factor.variables) > 1 or sizes[root.factor.variables[0]].observed for root in roots):
        return
    names = [root.factor.variables[0] for root in roots if root.factor.head == "q"]
    yield Diagnostic(
        "missing-factor",
        "no factor draws an image from the data",
        next((root.span for root in roots if root.factor.head == "q"), Span("--q", 1, 1, 2)),
        expected="a factor of an image without conditions, as `q(x)`",
        hint=f"`--image {names[0]}:1x28x28` says that `{names[0]}` is an image" if names else "",
    )


def _canonical(side: Sequence[Placed], order: Mapping[str, int]) -> list[Placed]:
    return [Placed(placed.factor.canonical(order), placed.span) for placed in side]
