"""Two typed factorizations in, a spec with comments out: variables by names, a network a factor, a game or terms.

Where each line came from is kept, so that what the compiler finds wrong can be shown in what was typed.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ammgraph.diagnostics import Diagnostic, Note, Span, SpecError
from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.spec.data_sets import DATA_SETS, OWN_DATA, TABLES
from ammgraph.spec.notation import Factor
from ammgraph.spec.source import printable
from ammgraph.start.json_schema import SCHEMA_LINE
from ammgraph.start.moved import Again, moved_again
from ammgraph.start.tables import Rows, Size, critic_rows, factor_rows
from ammgraph.start.typed import Factorizations, Sides, Typed, read_factorizations

STEPS, STEPS_OF_VECTORS, STEPS_OF_FEW = 3000, 1500, 600  # few: a table that ships has some hundred records
EVERY_EPOCHS = 10  # between two evaluations of a user's own data, which may be few


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
    return _written(read_factorizations(typed), file, command)


def _written(model: Factorizations, file: str, command: str) -> Skeleton:
    typed, sides, sizes = model.typed, model.sides, model.sizes
    constants = {name: _free(f"size_{name}", sizes) for name, size in sizes.items() if size.kind != "image"}
    networks = _network_names(sides, sizes)
    page, file = _Page(), printable(file)
    _head(page, model, file, command, constants)
    _data(page, model)
    again = moved_again(sides, sizes, {name for head, name in networks if head == "q"}) if typed.game else None
    twins = {} if again is None else again.twins
    page.line("\nvariables:")
    for name, of in [*((name, name) for name in sizes), *((twin, name) for name, twin in twins.items())]:
        page.line(f"  {name}: {_variable_text(of, sizes[of], constants)}", (name, model.place_of(of)))
    page.line("\n# A row is a layer if it has a width; rows without one add (`a + b`), join (`a | b`) or act on it.")
    page.line("# A row named like a variable draws it: `mu + expn` is a normal distribution, eq. 20 of the AMM paper.")
    page.line("networks:")
    for head, side in sides.items():
        for placed in side:
            if network := networks.get((head, str(placed.factor))):
                variable = placed.factor.variables[0]
                rows = factor_rows(placed.factor, sizes, constants, variable in typed.deterministic)
                _network(page, network, str(placed.factor), rows, placed.span)
    critics = _critics(sides, sizes, networks) if typed.game else {}
    for critic, read in critics.items():
        _network(page, critic, f"d({', '.join(read)}), the logit", critic_rows(read, sizes), None)
    if again:
        _network(page, "mover", f"the same {again.what}, {again.how}", again.mover, None)
    _distributions(page, model, networks)
    if again:
        page.line(f"  {again.head}:  # the same {again.what}s a second time, moved")
        for factor, value in again.factors(networks):
            page.line(f"    {factor}: {value}")
    if typed.game:
        _games(page, typed, sides, {critic: critic_rows(read, sizes)[-1][0] for critic, read in critics.items()})
    if typed.term or again:
        page.line("\nterms:")
    if again:
        _moved_terms(page, again)
    _terms(page, typed)
    _training(page, model)
    return Skeleton("\n".join(page.lines) + "\n", typed, tuple(page.places))


def _head(page: "_Page", model: Factorizations, file: str, command: str, constants: Mapping[str, str]) -> None:
    typed, sizes = model.typed, model.sizes
    products = ["  ".join(str(placed.factor) for placed in side) for side in model.sides.values()]
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


def _moved_terms(page: "_Page", again: Again) -> None:
    twins = "`, `".join(again.twins.values())
    kept = f"here a moved {again.what} keeps its class, and all classes are used."
    page.line(f"  # A game leaves the partition open: {kept}")
    page.line(f"  # To do without: delete this, `{again.head}`, `mover` and the variables `{twins}`.")
    for name, term in again.terms.items():
        page.line(f"  {name}: {{minimize: {json.dumps(term)}{again.weight}}}")


def _training(page: "_Page", model: Factorizations) -> None:
    page.line("\ntraining:")
    page.line("  batch_size: 100")
    few = model.dataset in DATA_SETS
    page.line(f"  steps: {STEPS if not model.of_vectors else STEPS_OF_FEW if few else STEPS_OF_VECTORS}")
    page.line("  optimizers:")
    page.line("    default: {name: adam, learning_rate: 1e-3, betas: [0.5, 0.999]}")
    page.line("  initializer: {weights: {kaiming_normal: 0.2}, biases: 0}")
    every = DATA_SETS[model.dataset].every_epochs if model.dataset in DATA_SETS else EVERY_EPOCHS
    page.line(f"\nevaluation: {{every_epochs: {every}}}")


def _games(page: "_Page", typed: Typed, sides: Sides, logits: Mapping[str, str]) -> None:
    whole = {head: Span(f"--{head}", 1, 1, len(getattr(typed, head)) + 1) for head in sides}
    page.line("\ngames:")
    if len(logits) > 1:
        page.line(
            "  # On both sides what no discriminator sees together is independent given the rest: to match these is"
        )
        page.line("  # to match the joint distributions, and each of these games is easier.")
    for critic, logit in logits.items():
        page.line(f"  {critic.removeprefix('critic').strip('_') or 'joint'}:")
        page.line(
            "    match: [q, p]               # the discriminator says 1 to the first",
            ("q,", whole["q"]),
            ("p]", whole["p"]),
        )
        page.line(f"    discriminator: {critic}.{logit}")
        others = ", ".join(name for name in OBJECTIVES if name != "jensen_shannon")
        page.line(f"    objective: jensen_shannon   # or {others}")
        page.line("    roth_penalty: {gamma: 6}    # or gradient_penalty: {lambda: 10}, r1_penalty: {gamma: 10}")


def _terms(page: "_Page", typed: Typed) -> None:
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


def _data(page: _Page, model: Factorizations) -> None:
    name, typed = model.dataset, model.typed.data
    columns = [f"dataset: {name}"]
    vectors = model.of_vectors
    paths = {"folder": "images", "npy": "arrays", **{table: f"table.{table}" for table in TABLES}}
    path = paths.get(name, "vectors.npz" if vectors else "images.npz")
    columns += [f"path: {path}"] if name in OWN_DATA else []
    columns += ["labeled: {count: all}"] if model.labels else []
    place = ("dataset", Span("--data", 1, 1, len(typed) + 1) if typed else None)
    if name == "csv":
        page.line("# table.csv: a first line of names, then a record a line. With a column of classes, `label: NAME`.")
    elif name == "parquet":
        page.line("# table.parquet: columns of numbers or lists of numbers. With a column of classes, `label: NAME`.")
    elif name == "npz" and vectors:
        page.line(
            "# vectors.npz: arrays x_train, y_train, x_test, y_test; vectors are N x D, y and test may be absent."
        )
    elif name == "npz":
        page.line("# images.npz: arrays x_train, y_train, x_test, y_test; images are N x C x H x W or N x H x W x C.")
    if name == "npy":
        page.line("# arrays: a folder of x_train.npy, y_train.npy, x_test.npy, y_test.npy; y and test may be absent.")
    if name == "folder":
        page.line("# images: a folder with one sub-folder of images for each class.")
    page.line(f"data: {{{', '.join(columns)}}}", place)


def _variable_text(name: str, size: Size, constants: Mapping[str, str]) -> str:
    if size.kind == "image":
        return f"{{type: image, shape: [{', '.join(map(str, size.shape))}]}}"
    return f"{{type: {'real' if size.kind == 'vector' else size.kind}, size: {constants[name]}}}"


def _network(page: _Page, network: str, purpose: str, rows: Rows, place: Span | None) -> None:
    page.line(f"  {network}:  # {purpose}", (network, place))
    page.line("    layers:")
    widest = max(len(name) for name, _ in rows)
    for name, columns in rows:
        page.line(f"      {name}:{' ' * (widest - len(name))} {{{columns}}}", (name, place))


def _distributions(page: _Page, model: Factorizations, networks: Mapping[tuple[str, str], str]) -> None:
    page.line("\ndistributions:")
    for head, side in model.sides.items():
        whole = Span(f"--{head}", 1, 1, max(placed.span.end_column for placed in side))
        page.line(f"  {head}:", (head, whole))
        for placed in side:
            factor = placed.factor
            network = networks.get((head, str(factor)))
            value = f"{network}.{factor.variables[0]}" if network else _root(factor, model)
            remark = "  # the labels' frequencies; `uniform` uses no label here" if value == "empirical" else ""
            page.line(f"    {factor}: {value}{remark}", (f"{factor}: {value}", placed.span))


def _root(factor: Factor, model: Factorizations) -> str:
    """What draws a factor that reads nothing: data for examples and for tuples, else a prior."""
    if len(factor.variables) > 1:
        return "data.labeled"
    size = model.sizes[factor.variables[0]]
    if size.observed:
        return "data"
    return {"categorical": "empirical" if model.labels else "uniform", "real": "normal"}[size.kind]


def _network_names(sides: Sides, sizes: Mapping[str, Size]) -> dict[tuple[str, str], str]:
    """Factor -> its network: `decoder` draws an example, `encoder` reads one or is on q's side, else `prior`."""
    drawn = [
        (head, placed.factor)
        for head, side in sides.items()
        for placed in side
        if placed.factor.given and len(placed.factor.variables) == 1
    ]

    def base(head: str, factor: Factor) -> str:
        if sizes[factor.variables[0]].observed:
            return "decoder"
        reads_example = any(sizes[name].observed for name in factor.given)
        return "encoder" if reads_example or head == "q" else "prior"

    bases = [base(head, factor) for head, factor in drawn]
    names: dict[tuple[str, str], str] = {}
    for (head, factor), name in zip(drawn, bases, strict=True):
        wanted = name if bases.count(name) == 1 else f"{name}_{factor.variables[0]}"
        names[head, str(factor)] = _free(wanted, [*names.values(), *sides, "critic"])
    return names


def _critics(sides: Sides, sizes: Mapping[str, Size], networks: Mapping[tuple[str, str], str]) -> dict[str, list[str]]:
    """Discriminator -> what it reads: one for each clique where that is enough, else one for all variables.

    Where both sides obey the independences of one chordal graph, the distributions of its cliques determine the joint.
    """
    import networkx as nx  # 0.2 seconds

    read = _critic_reads(sides, sizes)
    drawn = {head: {name for placed in side for name in placed.factor.variables} for head, side in sides.items()}
    cliques = [read]
    if set(read) == drawn["q"] == drawn["p"]:
        graph = nx.Graph()
        for placed in [placed for side in sides.values() for placed in side]:
            together = placed.factor.variables + placed.factor.given
            graph.add_nodes_from(together)
            graph.add_edges_from((a, b) for a in together for b in together if a < b)
        if nx.is_chordal(graph):
            cliques = sorted(sorted(clique, key=read.index) for clique in nx.chordal_graph_cliques(graph))
    if len(cliques) == 1:
        return {_free("critic", [*networks.values(), *sides]): cliques[0]}
    return {_free(f"critic_{'_'.join(clique)}", [*networks.values(), *sides]): clique for clique in cliques}


def _critic_reads(sides: Sides, sizes: Mapping[str, Size]) -> list[str]:
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
