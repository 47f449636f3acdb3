"""The street of rooms: imports look left, some rooms are torch-free, the trainer knows no model by name."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
import pytest
import torch
from tiny import TINY, environment

from ammgraph.data import standard
from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.layers.operations import OPERATIONS, POOLS
from ammgraph.nn.networks import Mode, Network
from ammgraph.plan.networks import NetworkPlan, RowPlan
from ammgraph.spec.data_sets import DATA_SETS, GIVEN, OWN_DATA
from ammgraph.spec.notation import parse_input
from ammgraph.spec.schema import Activation, Data, Pool
from ammgraph.spec.training import Adam, Weights

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ammgraph"
ORDER = (
    *("diagnostics", "terminal", "folders", "formulas", "layers", "spec", "plan", "data", "compiler", "show", "start"),
    *("nn", "runs", "train", "evaluation", "report", "export", "api", "commands", "cli", "__main__"),
)
MAY_IMPORT = {  # less than everything to the left
    "formulas": set(),
    "layers": set(),
    "plan": {"diagnostics", "folders", "formulas", "layers", "spec"},
    "data": {"diagnostics", "spec"},
    "compiler": {"diagnostics", "formulas", "layers", "spec", "plan"},
}
TORCH_FREE = {
    "diagnostics",
    "terminal",
    "folders",
    "formulas",
    "layers",
    "spec",
    "plan",
    "compiler",
    "show",
    "start",
    "cli",
    "__main__",
    "__init__",
}
HEAVY_COMMANDS = {
    "progress",
    "run_folders",
    "session",
    "dry_run",
    "trials",
    "sweeping",
}  # which verbs import when they run
LONGEST_MODULE = 450
MOST_PLACES = 6  # parameters that a call fills by their place; what is an option has a name
MORE_PLACES = {
    "nn/synchronized.py": {"batch_norm"},  # as torch has it
    "nn/networks.py": {"compute"},
    "train/step.py": {"take_turn"},
    "evaluation/quality.py": {"_calculate", "_results"},
    "evaluation/sample.py": {"sample_run", "draw_samples", "_paths"},
    "evaluation/synthesis.py": {"generated", "generate", "latent_path"},
}
OF_A_RUN = re.compile(
    r"\b(spec|run|environment|evaluation|trials|sweep|tried|logged)\.json\b|metrics\.jsonl|plan\.txt|report\.html"
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Dotted names of the modules imported."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            if node.module == "ammgraph":
                yield from (f"ammgraph.{alias.name}" for alias in node.names)


def imports_when_loaded(path: Path) -> set[str]:
    """What is imported when the module is: not within functions, not for type checkers alone."""

    def visit(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            yield child
            yield from visit(child)

    return set(imports_of(visit(tree_of(path))))


def test_imports_look_left() -> None:
    assert [
        f"{name_of(path)} imports {module}, which is not to its left"
        for path in MODULES
        if room_of(path) != "__init__"
        for module in imports_of(ast.walk(tree_of(path)))
        if not may_import(room_of(path), module.split("."))
    ] == []


def may_import(room: str, module: list[str]) -> bool:
    if module[0] != "ammgraph" or len(module) < 2 or module[1] not in ORDER:
        return True
    left = set(ORDER[: ORDER.index(room)]) | {room}
    return module[1] in MAY_IMPORT.get(room, left) | {room}


def test_no_module_imports_itself_by_way_of_others_not_even_within_a_function() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    graph = nx.DiGraph()
    for name, path in names.items():
        for node in imports_at_run_time(tree_of(path)):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            graph.add_edges_from((name, module if module in names else str(node.module)) for module in modules)
    circles = [found for found in nx.strongly_connected_components(graph) if len(found) > 1]
    assert circles == []


def imports_at_run_time(tree: ast.AST) -> Iterator[ast.ImportFrom]:
    """Imports of our own modules, also those within functions; none for type checkers alone."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom) and str(child.module).split(".")[0] == "ammgraph":
            yield child
        yield from imports_at_run_time(child)


def test_every_room_has_its_place_in_the_street() -> None:
    assert {room_of(path) for path in MODULES} - {"__init__"} <= set(ORDER)


def test_every_room_is_a_package_that_says_what_it_holds() -> None:
    rooms = {path.parent for path in MODULES} - {PACKAGE}
    said = {room: (room / "__init__.py").read_text(encoding="utf-8") for room in rooms}
    assert [room.name for room, text in said.items() if not text.startswith('"""')] == []


def test_the_compiler_s_page_says_what_each_of_its_modules_decides() -> None:
    page = (PACKAGE / "compiler" / "README.md").read_text(encoding="utf-8")
    modules = {path.name for path in (PACKAGE / "compiler").glob("*.py")} - {"__init__.py", "compile.py"}
    assert set(re.findall(r"`(\w+\.py)`", page.partition("The frozen result")[0].partition("|---|")[2])) == modules


def test_torch_free_rooms_import_no_torch_when_loaded() -> None:
    heavy = {"torch", "torchvision", "sklearn", "matplotlib", "scipy"}
    rooms = {
        *(f"ammgraph.{room}" for room in ("data", "nn", "runs", "train", "evaluation", "report", "export", "api")),
        *(f"ammgraph.commands.{command}" for command in HEAVY_COMMANDS),
    }
    light = [
        p for p in MODULES if room_of(p) in TORCH_FREE or (room_of(p) == "commands" and p.stem not in HEAVY_COMMANDS)
    ]
    assert light
    assert [
        f"{name_of(path)} imports {module}"
        for path in light
        for module in imports_when_loaded(path)
        if module.split(".")[0] in heavy or any(f"{module}.".startswith(f"{room}.") for room in rooms)
    ] == []


def test_training_begins_without_torch_s_compiler_and_sympy(tmp_path: Path) -> None:
    """They are half of what starting takes, and serve nothing here."""
    program = f"""
import os, sys
from ammgraph.cli import main
from ammgraph.train import act
def check(self):
    assert not {{"torch._dynamo", "sympy", "sklearn", "scipy.stats", "matplotlib"}} & set(sys.modules)
    os._exit(7)
act.Act._average = check
main(["train", {str(TINY)!r}, "--run-dir", {str(tmp_path / "run")!r}, "--log", "none"])
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment()).returncode == 7


def test_torch_is_not_loaded_before_it_is_needed() -> None:
    """Otherwise a spec with a typing error takes seconds to be refused."""
    program = """
import sys
def check():
    assert not {"torch", "sklearn", "matplotlib", "numpy", "scipy", "networkx"} & set(sys.modules)
import ammgraph; check()
import ammgraph.spec.load; check()
import ammgraph.compiler.compile, ammgraph.show.text, ammgraph.show.latex; check()
from ammgraph.cli import main; check()
for words in (["validate", "specs/amm_mnist.yaml"], ["show", "specs/amm_mnist.yaml"], ["show", "--plan", TINY],
              ["validate", TINY, BAD]):
    main(words); check()
"""
    named = {"TINY": "tests/tiny.yaml", "BAD": "tests/bad_specs/duplicate_key.yaml"}
    for name, path in named.items():
        program = program.replace(name, repr(path))
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def test_no_import_is_relative() -> None:
    assert [
        name_of(path)
        for path in MODULES
        if any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree_of(path)))
    ] == []


def test_a_module_is_short_enough_to_be_read() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE} == {}


def test_a_call_has_few_places() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): wide_calls(path) for path in MODULES}
    assert {name: calls for name, calls in found.items() if calls} == MORE_PLACES


def wide_calls(path: Path) -> set[str]:
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)]
    taken = {node.name: [p.arg for p in (*node.args.posonlyargs, *node.args.args)] for node in functions}
    return {name for name, own in taken.items() if len({*own} - {"self", "cls", "ctx"}) > MOST_PLACES}


def test_a_module_says_what_it_is_for() -> None:
    silent = [name_of(path) for path in MODULES if path.stat().st_size and not ast.get_docstring(tree_of(path))]
    assert silent == []


def is_docstring(token: str, docstrings: set[str]) -> bool:
    return not token.lower().startswith(("f", "rf", "fr")) and ast.literal_eval(token) in docstrings


def test_the_parts_of_a_run_directory_are_named_in_one_place() -> None:
    """Docstrings may name them."""
    named = {name_of(path): parts_of_a_run(path) for path in MODULES}
    assert [name for name, texts in named.items() if texts] == ["ammgraph/folders.py"], named


def parts_of_a_run(path: Path) -> list[str]:
    found = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    docstrings = {id(node.value) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Expr)}
    texts = [node.value for node in found if id(node) not in docstrings]
    return [text for text in texts if text in ("checkpoints", "tensorboard", "lock") or OF_A_RUN.search(text)]


MODEL_WORDS = {"encoder", "decoder", "components", "amm", "samm", "ali", "mnist", "svhn", "y", "z"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "train").glob("*.py")), ids=name_of)
def test_the_trainer_knows_no_model_by_name(path: Path) -> None:
    """Neither an identifier nor a word of a text, docstrings excepted, is a word of some model."""
    docstrings = {
        node.value.value
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    words = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NAME:
            words |= {token.string, *token.string.split("_")}
        elif token.type == tokenize.STRING and not is_docstring(token.string, docstrings):
            words |= set(re.findall(r"[A-Za-z0-9]+", token.string))
    assert not MODEL_WORDS & {word.lower() for word in words}


def test_the_schema_and_the_networks_agree_on_operations_and_activations() -> None:
    """Every name that a spec may use is computed: each is built and run once."""

    def output(**columns: object) -> torch.Tensor:
        given = {
            "name": "r", "input": parse_input("v", {}), "in_shape": (3, 4, 4), "inner_shape": (3, 4, 4),
            "out_shape": (3, 4, 4), "op": None, "width": 1, "stride": 1, "padding": 0, "bias": False, "dropout": 0.0,
            "batchnorm": False, "activation": None, "pool": None,
            "weights": Weights.model_validate({"normal": 1.0}), "biases": 0.0, "parameters": 0, "multiply_adds": 0,
        }  # fmt: skip
        row = RowPlan(**(given | columns))  # type: ignore[arg-type]
        optimizer = Adam(name="adam", learning_rate=1)
        network = Network(NetworkPlan("net", (("v", row.in_shape),), (row,), optimizer, None), 0.1, 1e-5)
        network.initialize(torch.Generator().manual_seed(0))
        values = {"v": torch.randn(2, *row.in_shape)}
        noise = {f"e/r.{tensor.name}": torch.rand(2, *tensor.shape) for tensor in row.tensors}
        network.compute(["r"], values, 2, noise, "e", Mode.TRAIN)
        return values["r"]

    for operation, does in OPERATIONS.items():
        shape = (3, 1, 1) if operation == "linear" else (3 // (does.runs or 1), 4, 4)
        assert output(op=operation, inner_shape=shape, out_shape=shape).shape == (2, *shape)
    for name, kind in ACTIVATIONS.items():
        inside, outside = ((3, 1, 1), (2, 1, 1)) if kind.triangle else ((3, 4, 4), (3, 4, 4))
        shapes = {"in_shape": inside, "inner_shape": inside, "out_shape": outside}
        activation = Activation(name, None if kind.parameter is None else 0.5)
        assert output(activation=activation, **shapes).shape == (2, *outside)
    for kind in POOLS:
        assert output(pool=Pool(kind, 2), out_shape=(3, 2, 2)).shape == (2, 3, 2, 2)


def test_the_table_knows_the_data_sets_as_they_are_read() -> None:
    digits, known = standard.read_named("digits", Path(), download=False), DATA_SETS["digits"]
    assert (known.shape, known.classes) == (tuple(digits.train.images.shape[1:]), len(digits.classes))
    assert (known.train, known.test, digits.test) == (len(digits.train), 0, None)
    assert {*DATA_SETS, *OWN_DATA, GIVEN} == {*Data.model_json_schema()["properties"]["dataset"]["enum"]}
    assert all(callable(getattr(standard, known.reader)) for known in DATA_SETS.values())
