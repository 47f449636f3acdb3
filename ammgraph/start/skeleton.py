"""Two typed factorizations in, a spec with comments out: variables by names, a network a factor, a game or terms.

Where each line came from is kept, so that what the compiler finds wrong can be shown in what was typed.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ammgraph.diagnostics import Diagnostic, Note, Span, SpecError, did_you_mean, stop_if
from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.spec.notation import Factor, NotationError, parse_factor
from ammgraph.spec.source import printable
from ammgraph.start.json_schema import SCHEMA_LINE
from ammgraph.start.tables import Rows, Size, critic_rows, factor_rows, size_text

# A variable whose name begins so is one of these, unless an option says otherwise; any other one is real.
IMAGE_LETTERS, CATEGORICAL_LETTERS = ("x",), ("y", "c")
CATEGORIES, DIMENSIONS = 10, 64
DATA_BY_SHAPE = {(1, 8, 8): "digits", (1, 28, 28): "mnist", (3, 32, 32): "svhn"}
DRAWN = {
    "image": "networks draw images without noise in any case",
    "categorical": "its row's activation says how a category is drawn; `straight_through` draws none but the likeliest",
}
EPOCHS = {"digits": 200, "mnist": 100, "svhn": 100}


@dataclass(frozen=True)
class Typed:
    """What stands after `ammgraph new`: each option as its text, sizes by the variable's name ("" is no name)."""

    q: str
    p: str
    image: tuple[tuple[str, tuple[int, int, int]], ...] = ()
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


@dataclass(frozen=True)
class Skeleton:
    """The text of a spec, and what of it was typed where: a key or value of a line -> a place in an option."""

    text: str
    typed: Typed
    places: tuple[tuple[int, str, Span], ...]  # line, a piece of that line, the place

    def in_typed_words(self, error: SpecError, file: str) -> SpecError:
        """The same problems, each at what was typed; notes on lines that nobody typed are left out."""

        def typed_place(span: Span) -> Span | None:
            if span.file != file:
                return span
            lines = self.text.split("\n")
            on_line = [(piece, place) for line, piece, place in self.places if line == span.line]
            for piece, place in on_line:
                start = lines[span.line - 1].find(piece) + 1
                if start <= span.column < start + len(piece):
                    return place
            return on_line[0][1] if on_line else None

        whole = Span("--q", 1, 1, len(self.typed.q) + 1)
        moved = []
        for found in error.diagnostics:
            notes = [Note(note.message, place) for note in found.notes if (place := typed_place(note.span))]
            span = typed_place(found.span) or whole
            moved.append(
                Diagnostic(found.code, found.message, span, found.found, found.expected, found.hint, tuple(notes))
            )
        return SpecError(moved, self.typed.texts)


def skeleton(typed: Typed, file: str, command: str) -> Skeleton:
    """The spec of two factorizations.

    Args:
        typed: what the command line says.
        file: the name that the spec will have.
        command: the command itself, for the spec's first lines.

    Raises:
        SpecError: a factorization is not in the notation, or an option names a variable that is in none.
    """
    problems: list[Diagnostic] = []
    sides = {head: list(_factors(getattr(typed, head), f"--{head}", problems)) for head in ("q", "p")}
    stop_if(problems, typed.texts)
    names = _variables(sides)
    kinds = ("image", "categorical", "real")
    sizes = {name: _size(typed, name) for name in names}
    sizes = {name: size for kind in kinds for name, size in sizes.items() if size.kind == kind}
    problems += _options_name_variables(typed, names)
    problems += _deterministic_ones_are_real(typed, sizes)
    problems += _factors_can_be_drawn(sides, sizes)
    problems += _data_are_read(sides, sizes)
    stop_if(problems, typed.texts)
    order = {name: index for index, name in enumerate(sizes)}
    return _written(typed, {head: _canonical(side, order) for head, side in sides.items()}, sizes, names, file, command)


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


def _variables(sides: Mapping[str, Sequence[Placed]]) -> dict[str, Span]:
    """Variable -> where it is typed first."""
    found: dict[str, Span] = {}
    for placed in [placed for side in sides.values() for placed in side]:
        for name in placed.factor.variables + placed.factor.given:
            found.setdefault(name, placed.span)
    return found


def _size(typed: Typed, name: str) -> Size:
    """The size of a variable: as an option says, else by the letter that its name begins with."""
    named = dict(typed.image)
    if name in named:
        return Size("image", named[name])
    if name in dict(typed.categorical):
        return Size("categorical", (dict(typed.categorical)[name], 1, 1))
    if name in dict(typed.real):
        return Size("real", (dict(typed.real)[name], 1, 1))
    if name.startswith(IMAGE_LETTERS):
        return Size("image", named.get("", _default_shape(typed)))
    if name.startswith(CATEGORICAL_LETTERS):
        return Size("categorical", (CATEGORIES, 1, 1))
    return Size("real", (DIMENSIONS, 1, 1))


def _default_shape(typed: Typed) -> tuple[int, int, int]:
    return next((shape for shape, data in DATA_BY_SHAPE.items() if data == (typed.data or "mnist")), (1, 28, 28))


def _options_name_variables(typed: Typed, names: Mapping[str, Span]) -> Iterator[Diagnostic]:
    options: dict[str, Sequence[str]] = {
        "--image": [name for name, _ in typed.image],
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


def _factors_can_be_drawn(sides: Mapping[str, Sequence[Placed]], sizes: Mapping[str, Size]) -> Iterator[Diagnostic]:
    """A network draws one variable; an image that grows out of a vector is square, for kernels and strides are."""
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
        channels, height, width = sizes[variables[0]].shape
        if len(variables) == 1 and given and height != width:
            yield Diagnostic(
                "shape-mismatch",
                f"no network draws `{variables[0]}`, which is not square: kernels are",
                placed.span,
                found=size_text((channels, height, width)),
                expected="as high as wide",
                hint=f"with a border they are {size_text((channels, max(height, width), max(height, width)))}",
            )


def _data_are_read(sides: Mapping[str, Sequence[Placed]], sizes: Mapping[str, Size]) -> Iterator[Diagnostic]:
    """Some factor without conditions draws an image, or several variables at once: what only data can draw."""
    roots = [placed for side in sides.values() for placed in side if not placed.factor.given]
    if any(len(root.factor.variables) > 1 or sizes[root.factor.variables[0]].kind == "image" for root in roots):
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


# ------------------------------------------------------------------------------------------------ the text


def _written(
    typed: Typed,
    sides: Mapping[str, Sequence[Placed]],
    sizes: Mapping[str, Size],
    names: Mapping[str, Span],
    file: str,
    command: str,
) -> Skeleton:
    constants = {name: _free(f"size_{name}", sizes) for name, size in sizes.items() if size.kind != "image"}
    networks = _network_names(sides, sizes)
    labels = any(len(placed.factor.variables) > 1 for side in sides.values() for placed in side)
    products = ["  ".join(str(placed.factor) for placed in side) for side in sides.values()]
    page, file = _Page(), printable(file)
    page.line(SCHEMA_LINE)
    page.line(f"# {products[0]}   {'against' if typed.game else 'and'}   {products[1]}")
    page.line(f"# Made by: {printable(command)}")
    page.line(f"# Run: ammgraph train {file}")
    page.line(
        "# Change what you like: `ammgraph validate` says what no longer fits, `ammgraph show` what follows from it."
    )
    page.line("ammgraph: 1")
    page.line(f"title: {json.dumps(os.path.basename(file).rpartition('.')[0] or file)}")
    if constants:
        values = ", ".join(f"{constants[name]}: {sizes[name].shape[0]}" for name in constants)
        page.line(f"constants: {{{values}}}" + "  # `--set constants.NAME=VALUE` changes one for a run")
    _data(page, typed, sizes, labels)
    page.line("\nvariables:")
    for name, size in sizes.items():
        page.line(f"  {name}: {_variable_text(name, size, constants)}", (name, _variable_place(typed, name, names)))
    page.line("\n# A row is a layer if it has a width; rows without one add (`a + b`), join (`a | b`) or act on it.")
    page.line("# A row named like a variable draws it: `mu + expn` is a normal distribution, eq. 20 of the AMM paper.")
    page.line("networks:")
    for head, side in sides.items():
        for placed in side:
            if network := networks.get((head, str(placed.factor))):
                variable = placed.factor.variables[0]
                rows = factor_rows(placed.factor, sizes, constants, variable in typed.deterministic)
                _network(page, network, str(placed.factor), rows, placed.span)
    read = _critic_reads(sides, sizes)
    rows = critic_rows(read, sizes)
    if typed.game:
        _network(page, "critic", f"d({', '.join(read)}), the logit", rows, None)
    _distributions(page, sides, sizes, networks, labels)
    if typed.game:
        _game(page, typed, sides, rows)
    if typed.term:
        _terms(page, typed)
    page.line("\ntraining:")
    page.line("  batch_size: 100")
    page.line(f"  epochs: {EPOCHS.get(_dataset(typed, sizes), 100)}")
    page.line("  optimizers:")
    page.line("    default: {name: adam, learning_rate: 2e-4, betas: [0.5, 0.999]}")
    page.line("  initializer: {weights: {normal: 0.02}, biases: 0}")
    return Skeleton("\n".join(page.lines) + "\n", typed, tuple(page.places))


def _game(page: "_Page", typed: Typed, sides: Mapping[str, Sequence[Placed]], rows: Rows) -> None:
    whole = {head: Span(f"--{head}", 1, 1, len(getattr(typed, head)) + 1) for head in sides}
    page.line("\ngames:")
    page.line("  joint:")
    page.line(
        "    match: [q, p]               # the discriminator says 1 to the first",
        ("q,", whole["q"]),
        ("p]", whole["p"]),
    )
    page.line(f"    discriminator: critic.{rows[-1][0]}")
    page.line(
        f"    objective: jensen_shannon   # or {', '.join(name for name in OBJECTIVES if name != 'jensen_shannon')}"
    )
    page.line("    gradient_penalty: {lambda: 10}      # or roth_penalty: {gamma: 2}, r1_penalty: {gamma: 10}")


def _terms(page: "_Page", typed: Typed) -> None:
    page.line("\nterms:")
    for index, term in enumerate(typed.term, start=1):
        written = json.dumps(term, ensure_ascii=False)
        page.line(f"  term_{index}: {{minimize: {written}}}", (written, Span("--term", index, 1, len(term) + 1)))


class _Page:
    """Lines, and which pieces of them were typed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.places: list[tuple[int, str, Span]] = []

    def line(self, text: str, *pieces: tuple[str, Span | None]) -> None:
        self.lines += text.split("\n")
        self.places += [(len(self.lines), piece, span) for piece, span in pieces if span is not None]


def _dataset(typed: Typed, sizes: Mapping[str, Size]) -> str:
    shapes = [size.shape for size in sizes.values() if size.kind == "image"]
    return typed.data or (DATA_BY_SHAPE.get(shapes[0], "npz") if shapes else "mnist")


def _data(page: _Page, typed: Typed, sizes: Mapping[str, Size], labels: bool) -> None:
    name = _dataset(typed, sizes)
    columns = [f"dataset: {name}"]
    columns += [f"path: {'images' if name == 'folder' else 'images.npz'}"] if name in ("npz", "folder") else []
    columns += ["labeled: {count: all}"] if labels else []
    place = ("dataset", Span("--data", 1, 1, len(typed.data) + 1) if typed.data else None)
    if name == "npz":
        page.line("# images.npz: arrays x_train, y_train, x_test, y_test; images are N x C x H x W or N x H x W x C.")
    if name == "folder":
        page.line("# images: a folder with one sub-folder of images for each class.")
    page.line(f"data: {{{', '.join(columns)}}}", place)


def _variable_text(name: str, size: Size, constants: Mapping[str, str]) -> str:
    if size.kind == "image":
        return f"{{type: image, shape: [{', '.join(map(str, size.shape))}]}}"
    return f"{{type: {size.kind}, size: {constants[name]}}}"


def _variable_place(typed: Typed, name: str, names: Mapping[str, Span]) -> Span:
    """The option that gives a variable its size, else the first factor that has it."""
    for option, sized in (("--image", typed.image), ("--categorical", typed.categorical), ("--real", typed.real)):
        lines = typed.texts[option].split("\n")
        for line, (named, _) in enumerate(sized, start=1):
            if named == name or (option == "--image" and not named and name.startswith(IMAGE_LETTERS)):
                return Span(option, line, 1, len(lines[line - 1]) + 1)
    return names[name]


def _network(page: _Page, network: str, purpose: str, rows: Rows, place: Span | None) -> None:
    page.line(f"  {network}:  # {purpose}", (network, place))
    page.line("    layers:")
    widest = max(len(name) for name, _ in rows)
    for name, columns in rows:
        page.line(f"      {name}:{' ' * (widest - len(name))} {{{columns}}}", (name, place))


def _distributions(
    page: _Page,
    sides: Mapping[str, Sequence[Placed]],
    sizes: Mapping[str, Size],
    networks: Mapping[tuple[str, str], str],
    labels: bool,
) -> None:
    page.line("\ndistributions:")
    for head, side in sides.items():
        whole = Span(f"--{head}", 1, 1, max(placed.span.end_column for placed in side))
        page.line(f"  {head}:", (head, whole))
        for placed in side:
            factor = placed.factor
            network = networks.get((head, str(factor)))
            value = f"{network}.{factor.variables[0]}" if network else _root(factor, sizes, labels)
            remark = "  # the labels' frequencies; `uniform` uses no label here" if value == "empirical" else ""
            page.line(f"    {factor}: {value}{remark}", (f"{factor}: {value}", placed.span))


def _root(factor: Factor, sizes: Mapping[str, Size], labels: bool) -> str:
    """What draws a factor that reads nothing: data for images and for tuples, else a prior."""
    if len(factor.variables) > 1:
        return "data.labeled"
    kind = sizes[factor.variables[0]].kind
    if kind == "image":
        return "data"
    return {"categorical": "empirical" if labels else "uniform", "real": "normal"}[kind]


def _network_names(sides: Mapping[str, Sequence[Placed]], sizes: Mapping[str, Size]) -> dict[tuple[str, str], str]:
    """Factor -> its network: `decoder` draws an image, `encoder` reads one or is on q's side, else `prior`."""
    drawn = [
        (head, placed.factor)
        for head, side in sides.items()
        for placed in side
        if placed.factor.given and len(placed.factor.variables) == 1
    ]

    def base(head: str, factor: Factor) -> str:
        if sizes[factor.variables[0]].kind == "image":
            return "decoder"
        reads_image = any(sizes[name].kind == "image" for name in factor.given)
        return "encoder" if reads_image or head == "q" else "prior"

    bases = [base(head, factor) for head, factor in drawn]
    names: dict[tuple[str, str], str] = {}
    for (head, factor), name in zip(drawn, bases, strict=True):
        wanted = name if bases.count(name) == 1 else f"{name}_{factor.variables[0]}"
        names[head, str(factor)] = _free(wanted, [*names.values(), *sides, "critic"])
    return names


def _critic_reads(sides: Mapping[str, Sequence[Placed]], sizes: Mapping[str, Size]) -> list[str]:
    """The variables of both sides, and those of one side that would else lead nowhere."""
    drawn = {head: {name for placed in side for name in placed.factor.variables} for head, side in sides.items()}
    common = drawn["q"] & drawn["p"]
    leading: set[str] = set()
    for side in sides.values():
        parents = {name: placed.factor.given for placed in side for name in placed.factor.variables}
        open_names = [name for name in parents if name in common]
        while open_names:
            name = open_names.pop()
            if name not in leading:
                leading.add(name)
                open_names += parents.get(name, ())
    return [name for name in sizes if name in common or name not in leading]


def _free(name: str, taken: Mapping[str, object] | Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name
