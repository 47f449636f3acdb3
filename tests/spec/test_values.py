import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from ammgraph.spec.columns import Activation, ActivationText, Pool, PoolText
from ammgraph.spec.notation import Input, Named, parse_number
from ammgraph.spec.schedules import Schedule, Scheduled
from ammgraph.spec.source import parse, plain
from ammgraph.spec.values import (
    Count,
    Expression,
    Number,
    Positive,
    Share,
    Side,
    SideText,
    describe,
)

CONTEXT = {"constants": {"K": parse_number("10", {})}}


def read(kind: object, value: object) -> object:
    return TypeAdapter(kind).validate_python(value, context=CONTEXT)


def refused(kind: object, value: object) -> dict:
    with pytest.raises(ValidationError) as caught:
        read(kind, value)
    (line,) = caught.value.errors()
    return {"code": line["type"], **line.get("ctx", {})}


def test_number_may_be_arithmetic_of_constants():
    assert read(Number, "K / 4") == 2.5
    assert read(Number, 2e-4) == 2e-4
    assert read(Number, -3) == -3.0
    assert read(Count, "2 * K") == 20
    assert read(Count, 3.0) == 3


@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}])
def test_what_is_no_number_is_of_the_wrong_type(value: object):
    assert refused(Number, value)["code"] == "wrong-type"
    assert refused(Count, value)["found"] == describe(value)


def test_count_is_whole_and_at_least_one():
    assert refused(Count, "K / 4") == {
        "code": "wrong-type",
        "message": "{place} is not a whole number",
        "found": "`2.5`",
    }
    assert refused(Count, 0)["code"] == "greater_than_equal"
    assert refused(Count, "10 * 1e15")["code"] == "less_than_equal"
    assert refused(Positive, 0)["code"] == "greater_than"
    assert refused(Share, 1)["code"] == "less_than"


def test_number_is_constant_or_goes_through_breakpoints():
    assert read(Scheduled, "1/2") == Schedule(((0.0, 0.5),))
    schedule = read(Scheduled, [[0, 1], [10, 0.5], [10, 0.1], ["2 * K", 0]])
    assert isinstance(schedule, Schedule)
    values = {epoch: schedule.at(epoch) for epoch in (-1, 0, 5, 10, 15, 20, 99)}
    assert values == {-1: 1, 0: 1, 5: 0.75, 10: 0.1, 15: 0.05, 20: 0, 99: 0}
    assert str(schedule) == "1 @0 -> 0.5 @10 -> 0.1 @10 -> 0 @20"
    assert str(read(Scheduled, 0.1)) == "0.1"


@pytest.mark.parametrize(
    ("written", "points"),
    [
        ({"cosine": [4, 0], "over": "2 * K"}, "4 @0 -> 0 @20 by a cosine"),
        ({"cosine": [4, 1], "over": 30, "warmup": 10}, "0 @0 -> 4 @10 -> 1 @30 by a cosine"),
        ({"linear": [1, 0], "over": 5}, "1 @0 -> 0 @5"),
        (
            {"linear": [1, 0.5], "over": 500, "warmup": 100, "by": "steps"},
            "0 @0 steps -> 1 @100 steps -> 0.5 @500 steps",
        ),
        ({"constant": 2, "warmup": 100, "by": "steps"}, "0 @0 steps -> 2 @100 steps"),
        ({"points": [[0, 1], [10, 2], [10, 3]], "by": "steps"}, "1 @0 steps -> 2 @10 steps -> 3 @10 steps"),
        ({"points": [[0, 1], [10, 2]]}, "1 @0 -> 2 @10"),
    ],
)
def test_a_named_schedule_is_its_breakpoints_and_is_written_as_it_is_read(written: object, points: str):
    schedule = read(Scheduled, written)
    assert isinstance(schedule, Schedule)
    assert str(schedule) == points
    assert read(Scheduled, plain(parse(schedule.written, "a")[0])) == schedule  # type: ignore[arg-type]


def test_a_cosine_falls_by_half_a_wave_after_its_rise():
    schedule = read(Scheduled, {"cosine": [4, 1], "over": 30, "warmup": 10})
    assert isinstance(schedule, Schedule)
    values = [schedule.at(epoch) for epoch in (0, 5, 10, 15, 20, 25, 30, 99)]
    half = math.sqrt(1 / 2)
    expected = [0, 2, 4, 1 + 3 * (1 + half) / 2, 2.5, 1 + 3 * (1 - half) / 2, 1, 1]
    assert values == pytest.approx(expected, abs=1e-12)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=4.0)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=1.0)
    for epoch in range(10, 31):
        assert schedule.at(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        torchs.step()


def test_breakpoints_in_steps_do_not_look_at_epochs():
    schedule = read(Scheduled, {"points": [[0, 0], [100, 1]], "by": "steps"})
    assert isinstance(schedule, Schedule)
    assert [schedule.at(7, step) for step in (0, 50, 100, 150)] == [0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ({"cosine": [1, 0]}, "missing-key"),
        ({"cosine": [1, 0], "linear": [1, 0], "over": 3}, "conflicting-keys"),
        ({"over": 3}, "missing-key"),
        ({"constant": 1}, "missing-key"),
        ({"constant": 1, "over": 3, "warmup": 2}, "conflicting-keys"),
        ({"points": [[0, 1]], "warmup": 2}, "conflicting-keys"),
        ({"linear": [1, 0], "over": 3, "warmup": 3}, "out-of-range"),
        ({"linear": [1, -1], "over": 3}, "greater_than_equal"),
        ({"points": [[5, 1], [0, 1]], "by": "steps"}, "out-of-range"),
        ({"linear": [1, 0], "over": 3, "by": "batches"}, "literal_error"),
    ],
)
def test_a_wrong_schedule_is_refused(written: object, code: str):
    assert refused(Scheduled, written)["code"] == code


def test_wrong_breakpoint_is_marked_by_its_place_in_the_list():
    assert refused(Scheduled, [[0, 1], [5, -1]])["at"] == (1, 1)
    assert refused(Scheduled, [[0, 1], [True, 1]])["at"] == (1, 0)
    assert refused(Scheduled, [[5, 1], [0, 1]])["code"] == "out-of-range"
    for value in ([], [1, 2], [[0, 1, 2]], [[0]]):
        assert refused(Scheduled, value)["code"] == "wrong-type"


def test_activation_has_a_number_where_it_takes_one():
    assert read(ActivationText, "leaky_relu 0.2") == Activation("leaky_relu", 0.2)
    assert read(ActivationText, "gumbel_softmax 1/2") == Activation("gumbel_softmax", 0.5)
    assert read(ActivationText, "expn") == Activation("expn")
    assert str(read(ActivationText, " leaky_relu   K / 50 ")) == "leaky_relu 0.2"


def test_wrong_activation_is_marked_by_its_columns():
    unknown = refused(ActivationText, "leaky_rely 0.2")
    assert (unknown["code"], unknown["end"]) == ("unknown-value", 10)
    wrong_number = refused(ActivationText, "leaky_relu  L")
    assert (wrong_number["start"], wrong_number["end"]) == (12, 13)
    superfluous = refused(ActivationText, "softmax 3")
    assert (superfluous["start"], superfluous["end"]) == (8, 9)
    for text in ("leaky_relu", "leaky_relu -1", "gumbel_softmax 0", "random_affine", "random_affine -0.1", "", 3):
        assert refused(ActivationText, text)["code"] in ("notation", "out-of-range", "unknown-value", "wrong-type")


def test_pool_has_a_kind_and_a_window():
    assert read(PoolText, "max 2") == Pool("max", 2)
    assert str(read(PoolText, "avg  K - 4")) == "avg 6"
    assert read(PoolText, "avg 2 by K / 2") == Pool("avg", (2, 5))
    assert str(read(PoolText, "avg 2 by 5")) == "avg 2 by 5"
    assert read(PoolText, "max 3 by 3") == Pool("max", 3)
    for text in ("max", "max 2 by", "max 2 by 0", "max 2x3", "min 2", "avg 0", "avg 1/2", "avg L", "", 2):
        assert refused(PoolText, text)["code"] in ("notation", "out-of-range", "unknown-value", "wrong-type")


def test_side_and_input_are_read_in_the_notation():
    assert read(SideText, "1/2 p + 1/2 r") == Side(((0.5, "p"), (0.5, "r")))
    assert str(read(SideText, "0.5 p+r")) == "0.5 p + r"
    assert read(Expression, "a | b") == Input(((Named("a", 0),), (Named("b", 4),)))
    assert refused(Expression, "a | ")["start"] == 4


def test_what_was_found_is_described_briefly():
    found = {describe(value) for value in (None, True, 3, 0.5, 2.0, "yes", [1], {})}
    assert found == {"nothing", "`true`", "`3`", "`0.5`", "`2`", "`yes`", "a list", "a mapping"}
    assert describe("x" * 100) == f"`{'x' * 57}...`"
