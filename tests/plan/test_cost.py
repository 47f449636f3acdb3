"""The memory of a step: by hand from shapes, and refused before anything is allocated where no machine has it."""

import pytest
from small_specs import network_of, plan_of, problems_of
from tiny import TERMS
from tiny import plan_of as tiny_plan_of

from ammgraph.plan.cost import bytes_text, forward_cost, memory
from ammgraph.show.cost import cost_text

NET = """
    h: {input: x, channels: 3, width: 8, dropout: 0.5, batchnorm: true, activation: relu}
    s: {input: h + h | h}
    d: {input: s, channels: 1, width: 1}
"""
SECOND = "games:\n  second: {match: [q, p], discriminator: net.d, objective: hinge%s}\n"


def shares(text: str, *overrides: str) -> dict[str, int]:
    layers = "\n".join("      " + line.strip() for line in NET.strip().splitlines())
    plan = plan_of(f"networks:\n  net:\n    layers:\n{layers}\n{text}", "training.batch_size=10", *overrides)
    return {row: share for network, row, share in memory(plan).rows if network == "net"}


def test_a_row_holds_its_weights_four_times_under_adam_and_what_its_backward_pass_reads() -> None:
    images = 20  # 10 of q and 10 of p, as one batch
    h = 4 * (4 * (3 * 64 + 2 * 3) + 2 * 3)  # weights, gain and shift, gradients, two moments; running statistics
    h += 4 * images * (2 * 64 + 3 * 3)  # mask and masked input; results of convolution, batch norm, relu
    s = 4 * images * 6
    d = 4 * 4 * (6 + 1) + 4 * images
    assert shares(SECOND % "") == {"h": h, "s": s, "d": d}


def test_noise_adds_its_tensor_and_the_noisy_input_and_groups_their_result_alone() -> None:
    images, of_x = 20, 64
    plain, noisy = (shares(SECOND % "", *more) for more in ((), ("networks.net.layers.h.noise=0.1",)))
    assert noisy == plain | {"h": plain["h"] + 4 * images * of_x}  # x + 0.1 eps
    totals = [memory(plan_of("", *more)).total for more in ((), ("networks.critic.layers.hx.noise=0.1",))]
    assert totals[1] - totals[0] == 2 * 4 * 8 * of_x  # 8 images of both sides: x + 0.1 eps, and eps
    groups = "networks.net.layers.s={input: h, op: max, channels: 1, activation: tanh}"
    assert shares(SECOND % "", groups)["s"] == 4 * images * (1 + 1)  # no weights; the largest of each, its tanh


def test_optimizers_and_averages_add_their_copies() -> None:
    adam = "training.optimizers={default: {name: adam, learning_rate: 1}, net: {name: %s, learning_rate: 1%s}}"
    d = {name: shares(SECOND % "", adam % (name, more))["d"] for name, more in (("sgd", ""), ("rmsprop", ""))}
    d["momentum"] = shares(SECOND % "", adam % ("sgd", ", momentum: 0.9"))["d"]
    d["averaged"] = shares(SECOND % "", adam % ("sgd", ""), "training.ema={encoder: 0.9}")["d"]
    copy = 4 * (6 + 1)
    assert d == {
        name: copies * copy + 80 for name, copies in (("sgd", 2), ("rmsprop", 3), ("momentum", 3), ("averaged", 3))
    }


def test_a_penalty_keeps_the_gradient_too() -> None:
    images, kept = 20, 6
    plain = shares(SECOND % "")["s"]
    assert plain == 4 * images * kept
    assert shares(SECOND % ", roth_penalty: {gamma: 1}")["s"] == 2 * plain
    # Eq. 18's own pass begins when the losses' passes have ended, and half as many examples twice are no more.
    assert shares(SECOND % ", gradient_penalty: {lambda: 1}")["s"] == plain == 2 * 4 * 10 * kept


def test_sums_are_exact_and_the_largest_row_comes_first() -> None:
    found = memory(plan_of())
    assert found.total == found.weights + found.activations >= sum(share for _, _, share in found.rows)
    assert [share for _, _, share in found.rows] == sorted((share for _, _, share in found.rows), reverse=True)
    assert found.weights >= 4 * 4 * plan_of().parameters
    doubled = memory(plan_of("", "training.batch_size=8"))
    assert doubled.weights == found.weights
    assert doubled.activations == 2 * found.activations


def test_precision_changes_what_a_number_takes() -> None:
    single, half, double = (memory(plan_of(), precision) for precision in ("float32", "bfloat16", "float64"))
    assert (half.weights, double.weights) == (single.weights, 2 * single.weights)
    assert half.activations < single.activations < double.activations


def test_cost_shows_it() -> None:
    assert f"memory of a step, about {bytes_text(memory(plan_of()).total)}: weights" in cost_text(plan_of())


def test_bytes_are_told_in_their_unit() -> None:
    assert [bytes_text(count) for count in (0, 1023, 1024, 150 * 1024, 3 << 29, 10**30)] == [
        *("0 bytes", "1,023 bytes", "1.0 KiB", "150 KiB", "1.5 GiB"),
        "867,361,737,988 EiB",
    ]


@pytest.mark.parametrize(
    "layer",
    [
        "{input: x, width: 8, channels: 1e12}",
        "{input: 'zeros(1e12) + zeros(1e12)'}",
        "{input: x, op: linear, channels: 1e15}",
    ],
)
def test_what_no_machine_holds_is_refused_at_its_largest_row(layer: str) -> None:
    (problem,) = problems_of(
        f"networks:\n  critic:\n    layers:\n      big: {layer}\n      big2: {{input: big, channels: 1, width: 1}}\n"
        "      d: {input: h2 + big2}\n      h2: {input: h, channels: 1, width: 1}\n"
    )
    assert problem.code == "too-large"
    assert problem.span.line == 6
    assert "row `big` of `critic` alone" in problem.found
    assert "iB of memory" in problem.message


def test_what_some_machine_holds_is_no_error_of_the_spec() -> None:
    big = network_of("h: {input: x, channels: 1e9, width: 8}\nd: {input: h, channels: 1, width: 1}")
    assert big.parameters > 64e9


def test_normalised_weights_stand_beside_those_that_learn_in_every_pass() -> None:
    place, d = "networks.net.layers.d.", shares(SECOND % "")["d"]
    lengths, weights, vectors = 1, 6, 1 + 6
    assert shares(SECOND % "", f"{place}weightnorm=true")["d"] == d + 4 * (4 * lengths + weights)
    assert shares(SECOND % "", f"{place}spectralnorm=true")["d"] == d + 4 * (vectors + weights)


def held_by_classifier(*overrides: str) -> dict[str, int]:
    found = memory(tiny_plan_of(TERMS, *overrides)).rows
    return {row: share for network, row, share in found if network == "classifier"}


def test_a_moved_sample_costs_two_passes_and_keeps_one_and_a_constant_keeps_its_results_alone() -> None:
    term = "terms.one.minimize=E[q] vat(c(y|x), x, 4, 10)"
    plain, moved = tiny_plan_of(TERMS), tiny_plan_of(TERMS, term)
    of_one = 64 * 8 + 8 * 10  # multiply-adds: h, y
    costs = [forward_cost(plan, plan.turns)["classifier"] for plan in (plain, moved)]
    assert costs[1] - costs[0] == 2 * 40 * of_one
    h, y = 2 * 64 + 2 * 8, 2 * 10  # the scaled mask and the masked image, then convolution and activation
    before, after = held_by_classifier(), held_by_classifier(term)
    assert {row: after[row] - before[row] for row in before} == {"h": 4 * 40 * h, "y": 4 * 40 * y}
    rest = "terms.classes.minimize=-E[p] log c(y|x)"
    terms = [f"terms.one.minimize=E[q] KL({c} || q(y|x))" for c in ("c(y|x)", "stop c(y|x)")]
    learns, stops = (held_by_classifier(rest, term) for term in terms)
    assert {row: learns[row] - stops[row] for row in learns} == {"h": 4 * 40 * (h - 8), "y": 4 * 40 * (y - 10)}
