"""The compiler as a whole: what a plan depends on, what is unused, settings by name, warnings, all problems at once."""

import ast
import random
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_specs import FOLDER, plan_of, problem_of, problems_of

import ammgraph.compiler
from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import CODES
from ammgraph.plan.draws import FromNetwork
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_spec, load_text
from ammgraph.spec.schema import DataSource

BASE = (FOLDER / "small_base.yaml").read_text()
SPECS = Path(__file__).parents[2] / "specs"


def compiled(text: str) -> Plan:
    return compile_spec(load_text(text))


# ---------------------------------------------------------------------------------------- what a plan depends on


def test_a_plan_compares_equal_to_itself_compiled_again() -> None:
    assert compiled(BASE) == compiled(BASE)


def test_spaces_comments_and_quotes_mean_nothing() -> None:
    rewritten = (
        BASE.replace("z_mu + z_sigma", '"z_mu+z_sigma"')
        .replace("{input: y | z", '{input: " y|z "')
        .replace("q(z|x)", "q( z | x )")
    )
    assert compiled(f"# a comment\n\n{rewritten}") == compiled(BASE)


def test_flow_and_block_style_mean_the_same() -> None:
    assert compiled(yaml.safe_dump(yaml.safe_load(BASE), sort_keys=False)) == compiled(BASE)


def test_a_constant_and_its_value_mean_the_same() -> None:
    written = compiled(BASE.replace("size: K", "size: 10").replace("channels: K", "channels: 5 + 5"))
    assert [warning.message for warning in written.warnings] == ["nothing uses the constant `K`"]
    assert replace(written, warnings=()) == compiled(BASE)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_rows_changes_neither_what_is_computed_nor_its_shapes(seed: int) -> None:
    tree = yaml.safe_load(BASE)
    for network in tree["networks"].values():
        rows = list(network["layers"].items())
        random.Random(seed).shuffle(rows)
        network["layers"] = dict(rows)
    shuffled, plan = compiled(yaml.safe_dump(tree, sort_keys=False)), compiled(BASE)
    for network in plan.networks:
        other = shuffled.network(network.name)
        assert {row.name: row for row in other.rows} == {row.name: row for row in network.rows}
        place = {row.name: index for index, row in enumerate(other.rows)}
        assert all(place[name] < place[row.name] for row in other.rows for name in row.reads if name in place)
    assert {site.name: site for site in shuffled.turns[0].sites} == {site.name: site for site in plan.turns[0].sites}
    assert [objective.networks for objective in shuffled.turns[0].objectives] == [
        objective.networks for objective in plan.turns[0].objectives
    ]


@pytest.mark.parametrize("name", ["amm_mnist", "samm_svhn_q1", "conditional_ali_mnist"])
def test_a_resolved_spec_compiles_to_the_same_plan(name: str) -> None:
    spec = load_spec(SPECS / f"{name}.yaml")
    resolved = yaml.safe_dump(spec.written, sort_keys=False).replace("extends:", "# extends:")
    assert compile_spec(load_text(resolved)) == compile_spec(spec)


@pytest.mark.parametrize("name", sorted(path.stem for path in SPECS.glob("*.yaml")))
def test_in_every_plan_all_that_is_read_has_been_computed(name: str) -> None:
    """Executing a step needs no look ahead: rows, samples and draws come before what reads them."""
    plan = tiny.plan_of(SPECS / f"{name}.yaml")
    for turn in plan.turns:
        assert len({site.name for site in turn.sites}) == len(turn.sites)
        for draw in (plan.draw(name) for name in turn.draws):
            samples: set[str] = set()
            computed: dict[str, set[str]] = {}
            for factor in draw.factors:
                assert set(factor.given) <= samples
                if isinstance(factor.origin, FromNetwork):
                    evaluation = factor.origin.evaluation
                    known = computed.setdefault(evaluation.name, set())
                    known |= {local for local, variable in evaluation.bindings if variable in samples}
                    for row in factor.origin.rows:
                        assert set(plan.network(evaluation.network).row(row).reads) <= known
                        assert row not in known
                        known.add(row)
                samples |= set(factor.variables)


# ------------------------------------------------------------------------------------------------ nothing in vain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("networks: {other: {layers: {d: {input: z}}}}", "no distribution, game or term names `other`"),
        ("networks: {encoder: {layers: {b: {input: h}}}}", "row `b` of `encoder` serves nothing"),
        ("variables: {w: {type: real, size: 2}}", "no distribution draws `w`"),
        ("distributions: {r: q}", "no game matches `r` and no term names it"),
    ],
)
def test_what_serves_nothing_is_an_error(text: str, message: str) -> None:
    assert problem_of(text) == f"unused: {message}"


def test_a_row_that_only_another_variable_reads_serves() -> None:
    text = "networks: {encoder: {layers: {b: {input: y}, z_mu: {input: h | b}}}}\n"
    text += "distributions:\n  q:\n    q(x): data\n    q(y|x): encoder.y\n    q(z|x,y): encoder.z\n"
    assert plan_of(text).network("encoder").row("b").out_shape == (10, 1, 1)


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.batch_size={q: 4}", "missing-key: `p` has no batch size"),
        ("training.batch_size={default: 4, r: 2}", "unknown-distribution: `r` is not a distribution"),
        ("training.ema={judge: 0.9}", "unknown-network: `judge` is not a network"),
        ("evaluation.weights=ema", "missing-key: averaged weights are evaluated, but no weights are averaged"),
        ("data.fields={w: image}", "unknown-variable: `w` is not a variable"),
    ],
)
def test_settings_name_what_there_is(override: str, message: str) -> None:
    assert problem_of("", override) == message


def test_every_network_has_an_optimizer() -> None:
    only = "training: {optimizers: {default: null, critic: {name: sgd, learning_rate: 1}}}"
    assert problem_of(only) == "missing-key: `encoder` has no optimizer"


def test_a_network_takes_its_own_optimizer_and_average_before_the_default() -> None:
    text = """
        training:
          optimizers: {critic: {name: adam, learning_rate: 2e-3}}
          ema: {default: 0.9, critic: 0.5}
        """
    plan = plan_of(text)
    rates = {network.name: (network.optimizer.learning_rate.at(0), network.ema) for network in plan.networks}
    assert rates == {"encoder": (1e-3, 0.9), "components": (1e-3, 0.9), "decoder": (1e-3, 0.9), "critic": (2e-3, 0.5)}


def test_batch_sizes_may_differ_by_distribution() -> None:
    plan = plan_of("", "training.batch_size={default: 4, q: 6}")
    assert {draw.name: draw.batch_size for draw in plan.draws} == {"q": 6, "p": 4}
    assert plan.epoch_batch == 6


def test_an_epoch_is_one_pass_of_the_data_or_of_the_part_that_is_used() -> None:
    assert plan_of().epoch_source == DataSource("all")
    text = "data: {labeled: {count: 100}}\nnetworks: {encoder: {layers: {a: null, y: null}}}\n"
    text += "distributions:\n  q:\n    q(x,y): data.labeled\n    q(z|x): encoder.z\n"
    assert plan_of(text).epoch_source == DataSource("labeled")


def test_a_published_number_holds_for_its_constants() -> None:
    text = """
        published:
          - {when: {K: 10}, metric: nmi, value: 1, source: here}
          - {when: {K: 12}, metric: nmi, value: 2, source: here}
          - {metric: nmi, value: 3, source: here}
        """
    assert [number.value for number in plan_of(text).published] == [1, 3]
    assert problem_of(text.replace("{K: 12}", "{L: 12}")) == "unknown-name: `L` is not a constant"


# ------------------------------------------------------------------------------------------------ warnings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "networks: {decoder: {layers: {x: {activation: null}}}}",
            "row `x` has not the range of `x`: a discriminator sees that at once",
        ),
        (
            "networks: {decoder: {layers: {x: {activation: tanh}}}}",
            "row `x` has not the range of `x`: a discriminator sees that at once",
        ),
        (
            "networks: {encoder: {layers: {y: {activation: null}}}}",
            "row `y` draws the categorical `y`, but does not end in a choice",
        ),
        (
            "networks: {components: null}\n"
            "distributions:\n  p:\n    p(y): uniform\n    p(z): uniform(0, 1)\n    p(x|y,z): decoder.x\n",
            "`z` is normal here and `uniform(0, 1)` in `p`: a discriminator sees that at once",
        ),
    ],
)
def test_what_a_discriminator_sees_at_once_is_a_warning(text: str, message: str) -> None:
    (warning,) = plan_of(text).warnings
    assert (warning.code, warning.message) == ("support-mismatch", message)


def test_the_base_gives_no_warning() -> None:
    assert plan_of().warnings == ()
    tanh = "variables: {x: {range: [-1, 1]}}\nnetworks: {decoder: {layers: {x: {activation: tanh}}}}"
    assert plan_of(tanh).warnings == ()


@pytest.mark.parametrize(("row", "warned"), [("random_affine 0.1", False), ("softplus", True)])
def test_a_row_that_moves_an_image_keeps_its_range(row: str, warned: bool) -> None:
    text = f"""
        variables: {{w: {{type: image, shape: [1, 8, 8]}}}}
        networks:
          mover: {{layers: {{v: {{input: x}}, w: {{input: v, activation: {row}}}}}}}
          other: {{layers: {{d: {{input: w, op: linear, channels: 1}}}}}}
        distributions:
          r: {{r(x): q.x, r(w|x): mover.w}}
          s: {{s(w): p.x}}
        games: {{moved: {{match: [r, s], discriminator: other.d, objective: jensen_shannon}}}}
        """
    assert [warning.code for warning in plan_of(text).warnings] == ["support-mismatch"] * warned


@pytest.mark.parametrize(("other", "warned"), [("flip", False), ("softplus", True)])
def test_what_is_chosen_from_images_of_one_range_has_it(other: str, warned: bool) -> None:
    text = f"""
        variables: {{w: {{type: image, shape: [1, 8, 8]}}, t: {{type: categorical, size: 2}}}}
        networks:
          mover: {{layers: {{f: {{input: x, activation: {other}}}, w: {{input: x | f, choose: t}}}}}}
          other: {{layers: {{d: {{input: w, op: linear, channels: 1}}}}}}
        distributions:
          r: {{r(x): q.x, r(t): uniform, "r(w|x,t)": mover.w}}
          s: {{s(w): p.x}}
        games: {{moved: {{match: [r, s], discriminator: other.d, objective: jensen_shannon}}}}
        """
    assert [warning.code for warning in plan_of(text).warnings] == ["support-mismatch"] * warned


@pytest.mark.parametrize(
    ("row", "prior", "warned"),
    [
        ("{input: m + s}", "normal", 0),
        ("{input: m}", "normal", 0),
        ("{input: m + s}", "uniform(-1, 1)", 1),
        ("{input: m, activation: tanh}", "uniform(-1, 1)", 0),
    ],
)
def test_an_image_beside_a_prior_without_bounds_needs_none(row: str, prior: str, warned: int) -> None:
    text = f"""
        variables: {{n: {{type: image, shape: [1, 8, 8], range: [-1, 1]}}}}
        networks:
          noise:
            layers:
              m: {{input: x, channels: 1, width: 3, padding: 1}}
              s: {{input: x, channels: 1, width: 3, padding: 1, activation: expn}}
              n: {row}
          other: {{layers: {{d: {{input: n, op: linear, channels: 1}}}}}}
        distributions:
          r: {{r(x): q.x, r(n|x): noise.n}}
          s: {{s(n): "{prior}"}}
        games: {{noise: {{match: [r, s], discriminator: other.d, objective: jensen_shannon}}}}
        """
    if "s}" not in row:
        text = text.replace("              s: {input: x, channels: 1, width: 3, padding: 1, activation: expn}\n", "")
    assert [warning.code for warning in plan_of(text).warnings] == ["support-mismatch"] * warned


# ------------------------------------------------------------------------------------------------ all problems at once


def test_all_problems_of_a_stage_come_together_in_order_of_position() -> None:
    problems = problems_of(
        """
        networks:
          critic: {layers: {hx: {input: image}}}
          encoder: {layers: {h: {input: picture}}}
        """
    )
    assert [problem.message for problem in problems] == [
        "row `hx` of `critic` reads `image`, which is neither a row nor a variable",
        "row `h` of `encoder` reads `picture`, which is neither a row nor a variable",
    ]


def test_a_misspelt_name_is_told_with_the_name_that_was_meant() -> None:
    (problem,) = problems_of("networks: {critic: {layers: {h: {input: hx | yy | z}}}}")
    assert problem.hint == "did you mean `y`?"
    assert (problem.span.line, problem.span.end_column - problem.span.column) == (3, 2)


def test_a_problem_in_a_parent_stands_in_the_parent() -> None:
    problems = problems_of("variables: {x: {shape: [1, 8, 7]}}\ndata: {dataset: npz, path: a.npz}")
    assert {problem.code for problem in problems} == {"shape-mismatch", "kernel-mismatch"}
    assert all(problem.span.file.endswith("base.yaml") for problem in problems)


def test_every_code_of_the_compiler_is_explained() -> None:
    calls = [
        node
        for path in Path(ammgraph.compiler.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Diagnostic"
    ]
    codes = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    assert len(codes) > 25
    assert codes <= set(CODES)
