"""What a program adds: it is parsed, planned, trained, shown and asked like what ammgraph has, and checked like it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import LABELED, TINY, differences, trainer_of
from tiny_runs import state_of
from torch import Tensor, nn
from torch.nn import functional as F

import ammgraph
from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.nn.model import critic_inputs, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.show.as_json import as_json
from ammgraph.show.cost import cost_text
from ammgraph.show.difference import difference_text
from ammgraph.show.difference import differences as differences_of
from ammgraph.show.latex import latex
from ammgraph.show.text import plan_text
from ammgraph.train.step import take_turn

TRUNK = [
    "networks.encoder.layers.h={input: x, op: trunk}",
    "networks.encoder.layers.y.input=h",
    "training.steps=4",
]


def bent(x: Tensor) -> Tensor:
    return x + 0.5 * torch.sin(x)


class Trunk(nn.Module):
    """A small residual network of 8x8 images: 16 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Linear(256, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.norm(self.first(x)))
        return self.last((h + x).flatten(1))


def register_trunk() -> None:
    ammgraph.register_module("trunk", lambda shape: Trunk())


# ------------------------------------------------------------------------------------------------ activations


def test_an_activation_is_computed_and_trained(tmp_path: Path) -> None:
    ammgraph.register_activation("bent", bent)
    plan = ammgraph.compile_spec(ammgraph.load_spec(TINY, ["networks.critic.layers.hx.activation=bent"]))
    assert "bent" in plan_text(plan)
    model = ammgraph.build(plan)
    network = model.network("critic")
    values = {"x": torch.rand(3, 1, 8, 8)}
    network.compute(["hx"], values, 3, {}, "e", Mode.EVAL)
    row = network.row("hx")
    expected = bent(F.conv2d(values["x"], row.weight, row.bias))
    torch.testing.assert_close(values["hx"], expected, atol=1e-6, rtol=0)
    spec = ammgraph.load_spec(TINY, ["networks.critic.layers.hx.activation=bent", "training.steps=2"])
    run = ammgraph.fit(spec, run_dir=tmp_path / "run")
    assert run.evaluate(device="cpu").step == 2
    with pytest.raises(ammgraph.RunError, match="row `hx` of `critic` is the activation `bent`, given in Python"):
        run.export()


def test_an_activation_may_take_a_number_and_be_torch_s_own_which_exports(tmp_path: Path) -> None:
    ammgraph.register_activation("celu", F.celu, parameter=1.0)
    ammgraph.register_activation("scaled", lambda x, a: a * torch.tanh(x / a), parameter=2.0, range=(-2, 2))
    set_to = ["networks.critic.layers.hx.activation=celu 0.7", "training.steps=1"]
    run = ammgraph.fit(ammgraph.load_spec(TINY, set_to), run_dir=tmp_path / "run")
    (source, _) = run.export()
    assert "F.celu(" in source.read_text()
    with pytest.raises(ammgraph.SpecError, match="`scaled` needs a number"):
        ammgraph.load_spec(TINY, ["networks.critic.layers.hx.activation=scaled"])


@pytest.mark.parametrize(
    ("of", "options", "said"),
    [
        (lambda x: x.sum(), {}, r"gives \(\) of \(3, 4, 2, 1\)"),
        (lambda x: x.tolist(), {}, "gives list of"),
        (lambda x: x * torch.rand(()), {}, "draws random numbers"),
        (lambda x: x - x.mean(), {}, "no function of every element"),
        (torch.softmax, {}, "raises TypeError"),
        (
            lambda x: torch.softmax(x, dim=1),
            {},
            "no function of every element by itself: of numbers in a row it raises",
        ),
        (lambda x: torch.sin(x).double(), {}, "gives float64 of float32; expected the same"),
        (lambda x: torch.sin(x).float(), {}, "gives float32 of float64; expected the same"),
        ("sin", {}, "is str, expected a function of a tensor"),
        (torch.sin, {"range": 3}, r"`range` is 3, expected two numbers"),
        (torch.sin, {"range": (1, -1)}, r"`range` is \(1, -1\), expected two numbers"),
        (torch.sin, {"range": ("a", "b")}, r"expected two numbers"),
        (F.celu, {"parameter": "one"}, "`parameter` is 'one', expected an example of it, at least 0"),
        (F.celu, {"parameter": -1.0}, "`parameter` is -1.0, expected an example of it, at least 0"),
        (torch.log, {}, "not finite between -3 and 3"),
        (lambda x: torch.sign(x.detach()), {}, "no gradient"),
        (torch.round, {}, "no gradient"),
        (lambda x: 2 * torch.tanh(x), {"range": (-1, 1)}, r"gives -2 to 2, which is not within \[-1, 1\]"),
    ],
)
def test_what_is_no_activation_is_refused(of: Callable[..., Tensor], options: dict[str, object], said: str) -> None:
    with pytest.raises(ammgraph.RunError, match=f"activation `mine`:? .*{said}"):
        ammgraph.register_activation("mine", of, **options)
    assert "mine" not in ACTIVATIONS


def test_names_of_ammgraph_stay_and_own_names_are_replaced() -> None:
    with pytest.raises(ammgraph.RunError, match="ammgraph has `relu` itself"):
        ammgraph.register_activation("relu", bent)
    with pytest.raises(ammgraph.RunError, match="`my relu` is no name"):
        ammgraph.register_activation("my relu", bent)
    with pytest.raises(ammgraph.RunError, match="`3` is no name"):
        ammgraph.register_activation(3, bent)
    for factor in (1.0, 2.0):
        ammgraph.register_activation("mine", lambda x, f=factor: f * bent(x))
    model = ammgraph.build(
        ammgraph.compile_spec(ammgraph.load_spec(TINY, ["networks.critic.layers.hx.activation=mine"]))
    )
    values = {"x": torch.rand(1, 1, 8, 8)}
    model.network("critic").compute(["hx"], values, 1, {}, "e", Mode.EVAL)
    row = model.network("critic").row("hx")
    torch.testing.assert_close(values["hx"], 2 * bent(F.conv2d(values["x"], row.weight, row.bias)))


# ------------------------------------------------------------------------------------------------ objectives


def test_an_objective_is_minimised_printed_and_exported(tmp_path: Path) -> None:
    ammgraph.register_objective(
        "cubed",
        discriminator=("softplus(-d)**3", "softplus(d)**3"),
        generator=("softplus(d) - 0.1 * d", "softplus(-d)"),
    )
    set_to = ["games.joint={match: [q, p], discriminator: critic.p, objective: cubed}", "training.steps=2"]
    spec = ammgraph.load_spec(TINY, set_to)
    plan = ammgraph.compile_spec(spec)
    assert "E_q sp(-d)^2 sp(-d) + E_p sp(d)^2 sp(d)" in plan_text(plan)
    assert r"\zeta(-d(x, y, z))^2" in latex(plan)
    trainer = trainer_of(TINY, *set_to)
    trainer.advance()
    told = trainer.recorder.means()
    blind = {"discriminator": 2 * torch.log(torch.tensor(2.0)) ** 3, "generator": 2 * torch.log(torch.tensor(2.0))}
    for player, expected in blind.items():
        assert told[f"joint/{player}"] == pytest.approx(float(expected), abs=0.02)  # d is near 0 at the first step
    run = ammgraph.fit(spec, run_dir=tmp_path / "run")
    assert (run.export()[0]).is_file()


@pytest.mark.parametrize(
    ("formulas", "said"),
    [
        (("d", "sin(d)"), "`sin(d)` is not known"),
        (("d", "2"), "`2` reads no d, and so has no gradient"),
        (("1", "d"), "`1` reads no d, and so has no gradient"),
        ((F.softplus, F.softplus), "each a text"),
        (F.softplus, "each a text"),
        (None, "each a text"),
        (("d", "log(d)"), "`log(d)` has no finite number"),
        ("dd", "two formulas"),
    ],
)
def test_what_is_no_objective_is_refused(formulas: object, said: str) -> None:
    pattern = said.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ammgraph.RunError, match=f"objective `mine`: .*({pattern})"):
        ammgraph.register_objective("mine", discriminator=formulas, generator=("d", "-d"))


def test_an_unknown_objective_lists_those_that_were_added() -> None:
    ammgraph.register_objective("mine", discriminator=("-d", "d"), generator=("d", "-d"))
    with pytest.raises(ammgraph.SpecError, match=r"did you mean `mine`|expected: .*`mine`"):
        ammgraph.load_spec(TINY, ["games.joint.objective=mina"])


# ------------------------------------------------------------------------------------------------ modules


def test_a_module_has_its_shape_its_size_and_its_cost() -> None:
    register_trunk()
    plan = ammgraph.compile_spec(ammgraph.load_spec(TINY, TRUNK))
    row = plan.network("encoder").row("h")
    assert row.out_shape == (16, 1, 1)
    assert row.parameters == sum(parameter.numel() for parameter in Trunk().parameters()) == 4 * 10 + 8 + 257 * 16
    assert row.multiply_adds == 4 * 9 * 64 + 256 * 16
    assert "trunk, a module given in Python" in plan_text(plan)
    assert "trunk, a module given in Python" in repr(ammgraph.build(plan))


def test_whatever_shows_a_plan_shows_a_module() -> None:
    register_trunk()
    (before, first), (after, plan) = (
        (spec, ammgraph.compile_spec(spec)) for spec in (ammgraph.load_spec(TINY, columns) for columns in ((), TRUNK))
    )
    assert '"op": "trunk"' in json.dumps(as_json(plan))
    told = difference_text(differences_of((before, first), (after, plan)), first, plan)
    assert "trunk" in "\n".join(told)
    row = plan.network("encoder").row("h")
    assert row.operation is not None
    # Beside its input and output: what its convolution and its norm give.
    assert row.operation.held(row.in_shape, row.inner_shape, 1) == 2 * 4 * 64
    assert "h" in cost_text(plan)


def test_a_module_s_weights_follow_the_seed_and_leave_torch_s_generator_alone() -> None:
    register_trunk()
    plan = ammgraph.compile_spec(ammgraph.load_spec(TINY, TRUNK))
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    first, again, other = (dict(ammgraph.build(plan, seed).state_dict()) for seed in (1, 1, 2))
    assert torch.rand(()) == expected
    assert differences(first, again) == []
    assert differences(first, other)


def test_it_is_trained_stopped_and_resumed_with_the_same_bits(tmp_path: Path) -> None:
    register_trunk()
    spec = ammgraph.load_spec(TINY, [*TRUNK, "training.ema={default: 0.9}"])
    straight = ammgraph.fit(spec, run_dir=tmp_path / "a")
    begun = ammgraph.build(straight.plan).network("encoder").row("h").module
    assert differences(dict(begun.state_dict()), dict(straight.model().network("encoder").row("h").module.state_dict()))
    stopped = ammgraph.fit(spec, run_dir=tmp_path / "b", stop=lambda state: state.step == 2)
    stopped.resume()
    assert differences(state_of(straight.folder), state_of(stopped.folder)) == []
    assert straight.evaluate(device="cpu").results == stopped.evaluate(device="cpu").results


def test_its_gradient_is_that_of_torch() -> None:
    """The critic is a module; its loss and gradient are computed by hand."""

    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(78, 5), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.outer(torch.tanh(self.inner(x.flatten(1))))

    ammgraph.register_module("judge", lambda shape: Critic())
    ammgraph.register_module("flat", lambda shape: nn.Flatten())
    trainer = trainer_of(
        TINY,
        "networks.critic.layers={hx: {input: x, op: flat}, p: {input: hx | y | z, op: judge}}",
        "games.joint={match: [q, p], discriminator: critic.p, objective: jensen_shannon}",
        precision="float64",
    )
    turn = trainer.plan.turns[0]
    data, noise = trainer.feed.batches(turn), trainer.noise.of(turn)
    taken = take_turn(trainer.model, trainer.plan, turn, data, noise, 0.0)
    draws = {
        name: sample_draw(trainer.model, trainer.plan.draw(name), data.get(name, {}), noise, Mode.FROZEN)
        for name in turn.draws
    }
    inputs = critic_inputs(turn.passes[-1], draws)
    module = trainer.model.network("critic").row("p").module
    joined = torch.cat([inputs["x"].flatten(1), inputs["y"].flatten(1), inputs["z"].flatten(1)], dim=1).detach()
    d = module(joined).flatten()
    real, fake = d.chunk(2)
    loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    torch.testing.assert_close(taken.values["joint/discriminator"], loss.detach(), atol=1e-10, rtol=0)
    expected = torch.autograd.grad(loss, list(module.parameters()))
    for found, wanted in zip(taken.gradients["critic"], expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


def test_it_begins_with_what_an_earlier_run_has_learned_and_may_stand_still(tmp_path: Path) -> None:
    register_trunk()
    first = ammgraph.fit(ammgraph.load_spec(TINY, TRUNK), run_dir=tmp_path / "a")
    later = [*TRUNK, f"networks.encoder.from={tmp_path}/a", "networks.encoder.trainable=false"]
    second = ammgraph.fit(ammgraph.load_spec(TINY, later), run_dir=tmp_path / "b", seed=1)
    before, after = (dict(run.model("cpu").network("encoder").state_dict()) for run in (first, second))
    assert any("module" in name for name in before)
    assert differences(before, after) == []


def test_an_export_refuses_it(tmp_path: Path) -> None:
    register_trunk()
    run = ammgraph.fit(ammgraph.load_spec(TINY, TRUNK), run_dir=tmp_path / "run")
    with pytest.raises(ammgraph.RunError, match="row `h` of `encoder` is the module `trunk`, given in Python"):
        run.export()
    assert not (tmp_path / "run" / "export").exists()


def test_where_it_is_not_registered_the_run_is_refused(tmp_path: Path) -> None:
    register_trunk()
    run = ammgraph.fit(ammgraph.load_spec(TINY, TRUNK), run_dir=tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-m", "ammgraph", "evaluate", str(run.folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "cannot be `trunk`" in done.stderr


class Leaking(nn.Module):
    """A module that is wrong in one way."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self.wrong, self.layer = wrong, nn.Linear(64, 3)
        self.idle = nn.Parameter(torch.zeros(2)) if wrong == "idle" else None
        if wrong == "frozen":
            self.layer.weight.requires_grad_(False)
        if wrong == "whole":
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    calls = 0

    def called(self) -> int:
        self.calls += 1
        return self.calls

    def forward(self, x: Tensor) -> object:
        h = x.flatten(1)
        if self.wrong == "shape":
            return nn.functional.linear(h, torch.zeros(2, 63))
        y = self.layer(h.detach() if self.wrong == "cut" else h)
        return {
            "random": lambda: y * torch.rand(()),
            "tuple": lambda: (y, y),
            "flat": lambda: y.flatten(),
            "scalar": lambda: y.sum(),
            "double": lambda: y.double(),
            "infinite": lambda: y / 0,
            "undefined": lambda: y.log(),
            "counts": lambda: y * self.called(),
            "mode": lambda: y if self.training else y[:, :2],
        }.get(self.wrong, lambda: y)()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("shape", "it raises RuntimeError: "),  # what torch says of shapes is another text in each release
        ("random", "it draws random numbers; let the row have them, by `dropout` or `noise`"),
        ("tuple", "it gives tuple, expected a tensor"),
        ("flat", "3 examples (3, 1, 8, 8) give (9), expected (B, n) or (B, C, H, W)"),
        ("scalar", "3 examples (3, 1, 8, 8) give (), expected (B, n) or (B, C, H, W)"),
        ("double", "it gives float64 of float32; expected the same"),
        ("infinite", "it gives numbers that are not finite"),
        ("undefined", "it gives numbers that are not finite"),
        ("counts", "it gives other numbers the second time, by what it keeps; a row depends on its input alone"),
        ("mode", "it gives (3, 3, 1, 1) in training and (3, 2, 1, 1) in evaluation"),
        ("idle", "no gradient reaches its parameter `idle`"),
        ("cut", "no gradient reaches its input"),
        ("frozen", "its parameter `layer.weight` does not learn"),
        ("whole", "its buffer `count` is int64; expected floats"),
    ],
)
def test_a_module_that_cannot_stand_in_its_row_is_refused_there(wrong: str, said: str) -> None:
    ammgraph.register_module("mine", lambda shape: Leaking(wrong))
    spec = ammgraph.load_spec(TINY, ["networks.encoder.layers.h={input: x, op: mine}"])
    with pytest.raises(ammgraph.SpecError) as caught:
        ammgraph.compile_spec(spec)
    assert f"error[shape-mismatch]: the module `mine` cannot stand in row `h`: {said}" in str(caught.value)


def test_its_channels_may_be_stated_and_nothing_else_may_be_set() -> None:
    register_trunk()
    for column, said in (
        ("channels: 17", "row `h` has 16 channels, but says 17"),
        ("width: 3", "row `h` is trunk and has no `width`"),
        ("initializer: {weights: {normal: 1}}", "row `h` is trunk and has no `initializer`"),
    ):
        spec = ammgraph.load_spec(TINY, [f"networks.encoder.layers.h={{input: x, op: trunk, {column}}}"])
        with pytest.raises(ammgraph.SpecError, match=said):
            ammgraph.compile_spec(spec)
    ammgraph.register_module("none", lambda shape: "no module")
    with pytest.raises(ammgraph.SpecError, match="what builds it gives str, expected a torch"):
        ammgraph.compile_spec(ammgraph.load_spec(LABELED, ["networks.encoder.layers.h={input: x, op: none}"]))
    ammgraph.register_module("none", nn.Linear)
    with pytest.raises(ammgraph.SpecError, match="what builds it raises TypeError"):
        ammgraph.compile_spec(ammgraph.load_spec(LABELED, ["networks.encoder.layers.h={input: x, op: none}"]))


@pytest.mark.parametrize(("build", "found"), [(nn.Linear(4, 4), "Linear"), (3, "int"), (None, "NoneType")])
def test_a_module_itself_builds_no_modules(build: object, found: str) -> None:
    with pytest.raises(ammgraph.RunError, match=f"operation `mine` is built by {found}, expected a function"):
        ammgraph.register_module("mine", build)
