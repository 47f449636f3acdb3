"""Layer tables: shapes, biases, parameters and cost of rows, against torch and by hand."""

from fractions import Fraction
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_specs import network_of, plan_of, problem_of, problems_of
from torch import nn

from ammgraph.layers.operations import Kernel, conv_size, conv_transpose_size
from ammgraph.nn.networks import Mode, Network
from ammgraph.plan.networks import NetworkPlan, RowPlan

WIDTHS, STRIDES, PADDINGS, SIZES = range(1, 6), range(1, 4), range(3), range(1, 10)


def row_of(size: int, channels: int, columns: str) -> RowPlan:
    """The row `r: {input: image, ...}` of an image of that size."""
    text = f"""
        data: {{dataset: npz, path: any.npz}}
        variables: {{v: {{type: image, shape: [{channels}, {size}, {size}]}}}}
        networks:
          net:
            layers:
              r: {{input: v, {columns}}}
              d: {{input: r, op: linear, channels: 1}}
        distributions:
          r:
            r(v): data
          s:
            s(v): normal
        games:
          second: {{match: [r, s], discriminator: net.d, objective: hinge}}
        """
    return plan_of(text).network("net").row("r")


@pytest.mark.parametrize(("width", "stride", "padding"), list(product(WIDTHS, STRIDES, PADDINGS)))
def test_convolutions_have_the_sizes_of_torch(width: int, stride: int, padding: int) -> None:
    for size in SIZES:
        image = torch.empty(1, 1, size, size, device="meta")
        back = nn.ConvTranspose2d(1, 1, width, stride, padding, device="meta")
        expected = conv_transpose_size(size, Kernel(width, stride, padding))
        if expected >= 1:
            assert back(image).shape[2:] == (expected, expected)
        else:
            with pytest.raises(RuntimeError):
                back(image)
        forth = nn.Conv2d(1, 1, width, stride, padding, device="meta")
        expected = conv_size(size, Kernel(width, stride, padding))
        if expected >= 1:
            assert forth(image).shape[2:] == (expected, expected)
        else:
            with pytest.raises(RuntimeError):
                forth(image)


@given(
    op=st.sampled_from(["conv", "conv_transpose"]),
    size=st.integers(5, 9),
    width=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    channels=st.integers(1, 3),
    out=st.integers(1, 4),
    bias=st.booleans(),
    batchnorm=st.booleans(),
)
def test_a_compiled_layer_has_the_shape_and_the_parameters_of_its_torch_module(
    op: str, size: int, width: int, stride: int, padding: int, channels: int, out: int, bias: bool, batchnorm: bool
) -> None:
    if padding >= width:
        padding = 0
    columns = f"op: {op}, channels: {out}, width: {width}, stride: {stride}, padding: {padding}"
    row = row_of(size, channels, f"{columns}, bias: {str(bias).lower()}, batchnorm: {str(batchnorm).lower()}")
    kind = nn.Conv2d if op == "conv" else nn.ConvTranspose2d
    module = kind(channels, out, width, stride, padding, bias=bias, device="meta")
    result = module(torch.empty(1, channels, size, size, device="meta"))
    assert row.out_shape == tuple(result.shape[1:])
    norm = 2 * out if batchnorm else 0
    assert row.parameters == sum(parameter.numel() for parameter in module.parameters()) + norm


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("window", [1, 2, 3, 4, 6])
def test_pools_have_the_sizes_of_torch(kind: str, window: int) -> None:
    module = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(window)
    row = row_of(12, 3, f"pool: {kind} {window}")
    assert row.inner_shape == (3, 12, 12)
    assert row.out_shape == tuple(module(torch.empty(1, 3, 12, 12)).shape[1:])


@pytest.mark.parametrize("window", [5, 7, 9])
def test_a_pool_that_does_not_tile_is_an_error(window: int) -> None:
    message = problem_of(f"networks: {{critic: {{layers: {{hx: {{width: 1, pool: max {window}}}}}}}}}")
    assert message == f"pool-mismatch: the windows of `max {window}` do not tile row `hx`"


def test_a_linear_row_reads_everything_at_once() -> None:
    row = row_of(5, 3, "op: linear, channels: 7")
    assert row.out_shape == (7, 1, 1)
    assert row.parameters == 3 * 5 * 5 * 7 + 7
    assert row.multiply_adds == 3 * 5 * 5 * 7


def test_each_weight_of_a_convolution_is_used_once_for_every_output_position() -> None:
    row = row_of(8, 2, "channels: 3, width: 3, stride: 2, padding: 1")
    assert row.out_shape == (3, 4, 4)
    assert row.multiply_adds == 2 * 3 * 3 * 3 * 4 * 4


def test_each_weight_of_a_transposed_convolution_is_used_once_for_every_input_position() -> None:
    row = row_of(4, 2, "op: conv_transpose, channels: 3, width: 3, stride: 2")
    assert row.out_shape == (3, 9, 9)
    assert row.multiply_adds == 2 * 3 * 3 * 3 * 4 * 4


def test_padding_of_a_transposed_convolution_is_taken_away() -> None:
    assert row_of(4, 1, "op: conv_transpose, channels: 1, width: 4, stride: 2, padding: 1").out_shape == (1, 8, 8)


def test_pooling_adds_no_cost_and_comes_last() -> None:
    row = row_of(8, 1, "channels: 2, width: 3, padding: 1, pool: max 2")
    assert (row.inner_shape, row.out_shape) == ((2, 8, 8), (2, 4, 4))
    assert row.multiply_adds == 2 * 9 * 64


@pytest.mark.parametrize("op", ["lse", "max"])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_an_operation_on_groups_keeps_the_positions_and_has_neither_parameters_nor_a_bias(op: str, groups: int) -> None:
    row = row_of(8, 6, f"op: {op}, channels: {groups}, pool: max 2")
    assert (row.inner_shape, row.out_shape) == ((groups, 8, 8), (groups, 4, 4))
    assert (row.parameters, row.multiply_adds, row.weight_shape, row.bias) == (0, 0, (), False)
    assert row_of(8, 6, f"op: {op}, channels: {groups}, batchnorm: true").parameters == 2 * groups


@pytest.mark.parametrize("groups", [3, 8, 40])
def test_groups_divide_the_channels(groups: int) -> None:
    assert problem_of(f"networks: {{critic: {{layers: {{h: {{op: lse, channels: {groups}}}}}}}}}") == (
        f"channels-mismatch: row `h` has {groups} groups of channels, which do not divide the 20 that it reads"
    )


def test_an_lse_row_may_be_a_discriminator_s_logit() -> None:
    network = network_of("c: {input: x, op: linear, channels: 10}\nd: {input: c, op: lse, channels: 1}")
    assert network.row("d").out_shape == (1, 1, 1)
    assert network.parameters == 10 * 64 + 10


def test_built_networks_have_the_parameters_of_the_plan() -> None:
    for plan in plan_of("networks: {critic: {layers: {hx: {batchnorm: true}}}}").networks:
        module = Network(plan, 0.1, 1e-5)
        assert sum(parameter.numel() for parameter in module.parameters()) == plan.parameters


# ------------------------------------------------------------------------------------------------ combining


def shapes_of(network: NetworkPlan) -> dict[str, tuple[int, int, int]]:
    return {row.name: row.out_shape for row in network.rows}


END = "d: {input: r, op: linear, channels: 1}"


def test_a_vector_is_repeated_over_height_and_width_in_sums_and_concatenations() -> None:
    network = network_of(f"""
        a: {{input: x, channels: 4, width: 3}}
        s: {{input: a + z}}
        j: {{input: a | y | z}}
        r: {{input: s | j}}
        {END}""")
    assert shapes_of(network) | {"d": (1, 1, 1)} == {
        "a": (4, 6, 6),
        "s": (4, 6, 6),
        "j": (18, 6, 6),
        "r": (22, 6, 6),
        "d": (1, 1, 1),
    }


def test_sums_bind_tighter_than_concatenations() -> None:
    network = network_of(f"r: {{input: z + zeros(4) | y}}\n{END}")
    assert network.row("r").out_shape == (14, 1, 1)


def test_zeros_may_be_counted_by_constants() -> None:
    assert network_of(f"r: {{input: y + zeros(K)}}\n{END}").row("r").in_shape == (10, 1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y + z", "row `r` adds things of different shapes"),
        ("x + zeros(2)", "row `r` adds things of different shapes"),
        ("x + a", "row `r` adds things of different shapes"),
        ("x | a", "row `r` joins things of different height and width"),
    ],
)
def test_nothing_but_vectors_is_repeated_and_sums_need_equal_channels(text: str, message: str) -> None:
    problem = problems_of(
        f"""
        networks:
          critic:
            layers:
              a: {{input: x, channels: 1, width: 3}}
              r: {{input: {text}}}
              e: {{input: r, op: linear, channels: 1}}
              f: {{input: a, op: linear, channels: 1}}
              h: {{input: hx | y | z | e | f, channels: 22}}
        """
    )[0]
    assert (problem.code, problem.message) == ("shape-mismatch", message)


def test_channels_without_a_width_only_state_what_comes_out() -> None:
    row = network_of(f"r: {{input: y | z, channels: 14}}\n{END}").row("r")
    assert (row.op, row.parameters, row.multiply_adds) == (None, 0, 0)
    problem = problems_of("networks: {critic: {layers: {h: {channels: 21}}}}")[0]
    assert problem.code == "channels-mismatch"
    assert problem.message == "row `h` has 20 channels, but says 21"


def test_the_default_operation_of_a_table_is_that_of_its_layers_only() -> None:
    plan = plan_of("networks: {decoder: {defaults: {op: conv_transpose}}}")
    rows = {row.name: row.op for row in plan.network("decoder").rows}
    assert rows == {"h": None, "x": "conv_transpose"}


def test_rows_come_in_an_order_in_which_they_can_be_computed_whatever_their_order_in_the_spec() -> None:
    forth = network_of(f"a: {{input: x, op: linear, channels: 3}}\nb: {{input: a}}\nr: {{input: b}}\n{END}")
    back = network_of(f"{END}\nr: {{input: b}}\nb: {{input: a}}\na: {{input: x, op: linear, channels: 3}}")
    assert [row.name for row in forth.rows] == ["a", "b", "r", "d"]
    assert forth == back


def test_rows_that_read_each_other_are_an_error_at_the_first_of_them() -> None:
    problem = problems_of("networks: {critic: {layers: {hx: {input: h}}}}")[0]
    assert problem.code == "row-cycle"
    assert problem.found == "`hx` -> `h` -> `hx`"


def test_a_bad_row_is_told_once_and_not_again_by_its_readers() -> None:
    assert problem_of("networks: {critic: {layers: {hx: {width: 9}}}}") == (
        "kernel-mismatch: the kernel of row `hx` does not fit its input"
    )


def test_a_padding_as_large_as_the_kernel_is_refused() -> None:
    problem = problems_of("networks: {critic: {layers: {hx: {width: 2, padding: 2}}}}")[0]
    assert (problem.code, problem.expected) == ("kernel-mismatch", "padding below the width")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{input: x, stride: 2}", "row `r` has `stride` but is no layer: it only combines its inputs"),
        ("{input: x, bias: false}", "row `r` has `bias` but is no layer: it only combines its inputs"),
        ("{input: x, op: linear, channels: 2, width: 3}", "row `r` is linear and has no `width`"),
        ("{input: x, op: conv, channels: 2}", "row `r` is a conv without a width"),
        ("{input: x, width: 3}", "row `r` is a layer without channels"),
    ],
)
def test_columns_of_a_row_fit_together(row: str, message: str) -> None:
    text = f"networks: {{critic: {{layers: {{r: {row}, hx: {{input: r, op: linear, width: null}}}}}}}}"
    assert problem_of(text) == f"not-a-layer: {message}"


def test_a_choice_among_channels_has_one_position() -> None:
    problem = problems_of("networks: {critic: {layers: {hx: {width: 3, activation: softmax}}}}")[0]
    assert (problem.code, problem.found) == ("shape-mismatch", "6x6x6")


# ------------------------------------------------------------------------------------------------ biases (R7)


def has_bias(rows: str, name: str = "r") -> bool:
    return network_of(rows).row(name).bias


def test_a_layer_has_a_bias() -> None:
    assert has_bias(f"r: {{input: x, channels: 2, width: 8}}\n{END}")


def test_a_layer_with_batch_norm_has_none() -> None:
    assert not has_bias(f"r: {{input: x, channels: 2, width: 8, batchnorm: true}}\n{END}")


def test_a_layer_whose_readers_all_normalise_first_has_none() -> None:
    assert not has_bias("""
        r: {input: x, channels: 2, width: 8}
        a: {input: r, batchnorm: true}
        b: {input: r + a, batchnorm: true, activation: relu}
        c: {input: a | b}
        d: {input: c, op: linear, channels: 1}""")


def test_noise_before_batch_norm_leaves_a_constant_to_be_subtracted() -> None:
    assert not has_bias("""
        r: {input: x, channels: 2, width: 8}
        a: {input: r, noise: 0.1, batchnorm: true}
        d: {input: a, op: linear, channels: 1}""")


@pytest.mark.parametrize(
    "reader",
    [
        "{input: r}",
        "{input: r, activation: relu}",
        "{input: r, channels: 2, width: 1, batchnorm: true}",  # a kernel before batch norm: padding may make it uneven
        "{input: r, op: linear, channels: 2, batchnorm: true}",
        "{input: r, dropout: 0.2, batchnorm: true}",  # a mask makes a constant uneven
        "{input: r, op: max, channels: 1, batchnorm: true}",  # the largest depends on what is added to each
        "{input: r * a, batchnorm: true}",  # a constant times what differs is none
        "{input: a + a * r, batchnorm: true}",
    ],
)
def test_a_layer_with_another_reader_keeps_its_bias(reader: str) -> None:
    assert has_bias(f"""
        r: {{input: x, channels: 2, width: 8}}
        a: {{input: r, batchnorm: true}}
        b: {reader}
        c: {{input: a | b}}
        d: {{input: c, op: linear, channels: 1}}""")


@pytest.mark.parametrize("column", ["activation: relu", "pool: avg 1"])
def test_a_layer_with_something_before_its_reader_keeps_its_bias(column: str) -> None:
    assert has_bias(f"""
        r: {{input: x, channels: 2, width: 8, {column}}}
        a: {{input: r, batchnorm: true}}
        d: {{input: a, op: linear, channels: 1}}""")


def test_a_drawn_row_keeps_its_bias_though_its_reader_in_the_table_normalises() -> None:
    """The discriminator reads it, too."""
    plan = plan_of(
        """
        networks:
          encoder:
            layers:
              z_mu: null
              z_sigma: null
              z: {input: h, channels: 4, width: 1}
              z_n: {input: z, batchnorm: true}
              a: {input: h | z_n}
        distributions:
          q:
            q(x): data
            q(z|x): encoder.z
            q(y|x,z): encoder.y
        """
    )
    assert plan.network("encoder").row("z").bias


def test_what_is_chosen_by_example_keeps_its_bias() -> None:
    assert has_bias("""
        r: {input: z, channels: 20, width: 1}
        a: {input: r, choose: y, batchnorm: true}
        d: {input: a, op: linear, channels: 1}""")


def test_what_another_norm_divides_by_example_keeps_its_bias() -> None:
    assert has_bias("""
        r: {input: x, channels: 2, width: 3, norm: layer}
        a: {input: r, batchnorm: true}
        d: {input: a, op: linear, channels: 1}""")


@pytest.mark.parametrize(
    ("shape", "norm", "kept"),
    [
        ("[2, 4, 4]", "batchnorm: true", True),
        ("[2, 4, 4]", "norm: instance", True),
        ("[2, 1, 1]", "batchnorm: true", False),
    ],
)
def test_a_norm_subtracts_one_mean_by_channel_and_not_the_bias_of_each_number(
    shape: str, norm: str, kept: bool
) -> None:
    rows = f"""
        r: {{input: x, op: linear, shape: {shape}, {norm}}}
        d: {{input: r, op: linear, channels: 1}}"""
    assert has_bias(rows) == kept
    behind = f"""
        r: {{input: x, op: linear, shape: {shape}}}
        a: {{input: r, {norm}}}
        d: {{input: a, op: linear, channels: 1}}"""
    assert has_bias(behind) == kept


def test_a_row_that_a_term_names_keeps_its_bias() -> None:
    layers = "networks: {decoder: {layers: {v: {input: h, channels: 6, width: 1}, n: {input: v, batchnorm: true}}}}"
    layers = layers.replace("}}}}", "}, x: {input: n}}}}")
    assert not plan_of(layers).network("decoder").row("v").bias
    assert plan_of(f"{layers}\nterms: {{small: {{minimize: 'E[p] l2(decoder.v)'}}}}").network("decoder").row("v").bias


@pytest.mark.parametrize(
    ("rows", "removed"),
    [
        ("r: {input: x, channels: 2, width: 8, batchnorm: true}", True),
        ("r: {input: x, channels: 2, width: 8}\na: {input: r + z2 | z2, batchnorm: true}", True),
        ("r: {input: x, channels: 2, width: 8}\na: {input: r * z2, batchnorm: true}", False),
        ("r: {input: x, channels: 20, width: 8}\na: {input: r, choose: y, batchnorm: true}", False),
        ("r: {input: x, op: linear, shape: [2, 4, 4], batchnorm: true}", False),
    ],
)
def test_a_bias_is_left_out_exactly_where_it_changes_nothing(rows: str, removed: bool) -> None:
    """By the numbers: the same network with a bias other than 0, and with that bias 0."""
    last = rows.splitlines()[-1].partition(":")[0]
    written = "z2: {input: z, channels: 2, width: 1}\n" + rows + f"\nd: {{input: {last} | z2, op: linear, channels: 1}}"
    assert has_bias(written) is not removed
    model = Network(network_of(written.replace("r: {", "r: {bias: true, ")), 0.1, 1e-5).double()
    generator = torch.Generator().manual_seed(0)
    model.initialize(generator)
    x, z = torch.rand(6, 1, 8, 8, generator=generator).double(), torch.randn(6, 4, 1, 1, generator=generator).double()
    y = torch.eye(10, dtype=torch.float64)[:6, :, None, None]
    found = []
    for factor in (0.0, 1.0):
        bias = model.row("r").bias
        assert bias is not None
        bias.data = factor * torch.linspace(-1, 2, len(bias), dtype=torch.float64)
        values = {"x": x, "y": y, "z": z}
        model.compute([row.name for row in model.plan.rows], values, 6, {}, "", Mode.FROZEN)
        found.append(values[last])
    assert torch.allclose(*found, rtol=0, atol=1e-10) is removed


def test_a_written_bias_decides() -> None:
    assert not has_bias(f"r: {{input: x, channels: 2, width: 8, bias: false}}\n{END}")
    assert has_bias(f"r: {{input: x, channels: 2, width: 8, batchnorm: true, bias: true}}\n{END}")


def test_batch_norm_has_two_parameters_a_channel() -> None:
    row = network_of(f"r: {{input: y | z, batchnorm: true}}\n{END}").row("r")
    assert row.parameters == 2 * 14


def test_initial_weights_are_a_rows_own_or_those_of_training() -> None:
    rows = """
        a: {input: x, op: linear, channels: 2, initializer: {weights: {normal: 0.5}}}
        r: {input: a, op: linear, channels: 2, initializer: {biases: 1/4}}
        d: {input: r, op: linear, channels: 1}"""
    network = network_of(rows, "training.initializer={weights: {uniform: 0.1}, biases: 3}")
    found = {row.name: (row.weights.normal, row.weights.uniform, row.biases) for row in network.rows}
    assert found == {"a": (0.5, None, 3), "r": (None, 0.1, float(Fraction(1, 4))), "d": (None, 0.1, 3)}


@pytest.mark.parametrize(("norm", "more"), [("weightnorm", 3), ("spectralnorm", 0)])
def test_a_weight_norm_learns_a_length_for_each_output_channel_or_nothing_more(norm: str, more: int) -> None:
    for columns in ("channels: 3, width: 2", "op: conv_transpose, channels: 3, width: 2", "op: linear, channels: 3"):
        plain, normed = (row_of(4, 2, columns + text) for text in ("", f", {norm}: true"))
        assert normed.parameters == plain.parameters + more
        assert normed.multiply_adds == plain.multiply_adds


def test_a_rectangle_has_the_shape_parameters_and_fan_in_of_torch() -> None:
    for op, kind in (("conv", nn.Conv2d), ("conv_transpose", nn.ConvTranspose2d)):
        columns = f"op: {op}, channels: 3, width: [3, 2], stride: [2, 3], padding: [1, 0]"
        row, layer = row_of(6, 2, columns), kind(2, 3, (3, 2), (2, 3), (1, 0))
        assert row.out_shape == layer(torch.empty(1, 2, 6, 6)).shape[1:]
        assert row.weight_shape == layer.weight.shape
        assert row.parameters == sum(parameter.numel() for parameter in layer.parameters())
        places = row.inner_shape if op == "conv" else row.in_shape
        assert row.multiply_adds == 3 * 2 * 3 * 2 * places[1] * places[2]
    assert row_of(6, 2, "channels: 3, width: [3, 3], stride: [2, 2]") == row_of(
        6, 2, "channels: 3, width: 3, stride: 2"
    )
    assert row_of(6, 2, "channels: 3, width: 1, pool: avg 2 by 3").out_shape == (3, 3, 2)


def test_the_mean_fan_in_of_a_rectangle_counts_what_reaches_an_output() -> None:
    row = row_of(6, 2, "op: conv_transpose, channels: 3, width: [3, 2], stride: [2, 3], padding: [1, 0]")
    layer = nn.ConvTranspose2d(2, 3, (3, 2), (2, 3), (1, 0), bias=False)
    nn.init.ones_(layer.weight)
    assert row.fan_in == pytest.approx(float(layer(torch.ones(1, 2, 6, 6)).detach().mean()))
