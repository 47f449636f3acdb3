"""A new thing of the language is one entry in one table: it is read, planned, trained, printed and exported."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
# Before anything else is imported, as a line in the table itself would be.
PROGRAM = """
import json, sys
from ammgraph.formulas import objectives, penalties
from ammgraph.formulas.expression import Apply, Logit, Mean, Number, Product, Slope, Square, minus, plus, times

d = Logit()
objectives.OBJECTIVES["cubed_trust"] = objectives.Objective(
    discriminator=(Square(Apply("softplus", minus(d))), Square(Apply("softplus", d))),
    generator=(Square(Apply("softplus", d)), Square(Apply("softplus", minus(d)))),
    meaning="the square of Jensen-Shannon's costs",
)
penalties.PENALTIES["flat_fake_penalty"] = penalties.Penalty(
    lambda real, fake, _: plus(
        *(times(w, Mean(d.draw, Square(Slope(d.draw, d.evaluation)))) for w, d in fake)
    ),
    "beta", False, "The squared gradient norm at FAKE.", 1,
)

from ammgraph.layers import activations, initializers, operations

activations.ACTIVATIONS["soft_shrink"] = activations.ActivationKind(
    "F.softshrink", "x less s towards 0", activations.Parameter("s", 0.5)
)
activations.ACTIVATIONS["hard_sigmoid"] = activations.ActivationKind("F.hardsigmoid", "a ramp", range=(0.0, 1.0))
operations.OPERATIONS["valid_conv"] = operations.Operation(
    "F.conv2d", "a convolution of what is there",
    operations.Linear(
        "Conv2d",
        shape=lambda inside, channels, width: (channels, inside[0], width, width),
        positions=lambda inside, outside: outside[1] * outside[2],
    ),
    size=lambda size, kernel: (size - kernel.width) // kernel.stride + 1,
    columns=("width", "stride"),
)
operations.OPERATIONS["group_mean"] = operations.Operation("torch.mean", "the mean of each group")
initializers.INITIALIZERS["truncated"] = initializers.Initializer(
    "nn.init.trunc_normal_", lambda s, _: {"std": s, "a": -2 * s, "b": 2 * s}, "A normal cut at 2 s.", 0.1
)

from dataclasses import dataclass
from ammgraph.formulas.expression import Sum
from ammgraph.spec import measures, priors

@dataclass(frozen=True)
class HalfNormal(priors.Prior):
    scale: float = 1.0

priors.PRIORS[HalfNormal] = priors.PriorKind(
    "half_normal",
    "|N(0, 1)| in every dimension; `half_normal(scale)` for |N(0, scale^2)|",
    {"real": "`half_normal`"},
    numbers=("scale",),
    read=HalfNormal,
    refused=lambda scale: None if scale > 0 else ("the scale is not positive", "scale > 0"),
    place=lambda prior: (Number(0), prior.scale),
    noise="normal",
    standard=Sum((Apply("relu", priors.NOISE), Apply("relu", minus(priors.NOISE)))),
)

measures.MEASURES["completeness"] = measures.Measure(
    "1 - H(clusters | labels) / H(clusters)", better="higher", of="clusters", words="C",
    function="sklearn.metrics.completeness_score",
)

import torch
from pathlib import Path
from ammgraph.spec import data_sets

data_sets.DATA_SETS["stripes"] = data_sets.DataSet(
    "rows that are lit", (1, 8, 8), 8, train=320, test=40, reader="__main__.read_stripes", held_out="last",
    every_epochs=7,
)


def read_stripes(root, download):
    from ammgraph.data.records import Split, checked_records

    def split(count):
        labels = torch.arange(count) % 8
        images = torch.eye(8).mul(200).byte()[labels][:, None, :, None].repeat(1, 1, 1, 8)
        images[:, 0, :, 0] += (torch.arange(count) // 8).byte()[:, None]  # their place in the file
        return Split(images, labels)

    return checked_records(split(320), split(40), tuple("abcdefgh"), "stripes")


from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.export.source import model_source
from ammgraph.show.latex import latex
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_spec
from ammgraph.start.json_schema import json_schema
from ammgraph.train.trainer import Trainer

game = "{match: [q, p], discriminator: critic.p, objective: cubed_trust, flat_fake_penalty: {beta: 3, every: 2}}"
plan = compile_spec(load_spec(sys.argv[1], [
    f"games.joint={game}",
    "networks.critic.layers.hx={input: x, op: valid_conv, channels: 4, width: 3, stride: 2}",
    "networks.critic.layers.hx.activation=soft_shrink 0.1",
    "networks.critic.layers.h={input: hx, channels: 9, width: 3, initializer: {weights: {truncated: 0.3}}}",
    "networks.critic.layers.hm={input: h, op: group_mean, channels: 3}",
    "networks.critic.layers.p={input: h | hm | y | z, op: linear, channels: 1}",
    "networks.decoder.layers.x.activation=hard_sigmoid",
    "variables.w={type: real, size: 3}",
    "data={dataset: stripes, validation: 80}",
    "networks.decoder.layers.h={input: y | z | w, channels: 16, width: 1, batchnorm: true, activation: leaky_relu 0.2}",
    "distributions.p={p(y): uniform, p(z|y): components.z, p(w): half_normal(2), 'p(x|y,z,w)': decoder.x}",
]))
dataset = load_data(plan.data, None)
trainer = Trainer(plan, dataset, 0, torch.device("cpu"), "float64")
turn = plan.turns[0]
program = {"__name__": "exported", "__file__": "model.py"}
exec(model_source(plan, trainer.model, plan.title, ""), program)
model = program["Model"]().double()
from ammgraph.export.export import exported_weights
model.load_state_dict(exported_weights(plan, trainer.model))
from ammgraph.train.step import take_turn
data, noise = trainer.feed.batches(turn), trainer.noise.of(turn)
draws = {name: getattr(model.train(), f"draw_{name}")(*data.get(name, {}).values(), noise) for name in turn.draws}
exported = {name: float(value) for name, value in model.losses(*draws.values(), noise).items()}
found = take_turn(trainer.model, plan, turn, data, noise, 0.0).values
trainer.advance()
row, mean = (plan.network("critic").row(name) for name in ("hx", "hm"))
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.evaluation.score import measure
images = dataset.validation
from contextlib import redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory
from ammgraph.diagnostics import SpecError
from ammgraph.plan.evaluation_cost import known_counts
counted = ["data={dataset: stripes, labeled: {count: all}}", "distributions.p.p(y)=empirical", "constants.K=7"]
try:
    compile_spec(load_spec(sys.argv[1], [*counted, "variables.x.shape=[1, 8, 9]"]))
except SpecError as error:
    refused = [problem.message for problem in error.diagnostics]
with redirect_stdout(StringIO()), TemporaryDirectory() as folder:
    new = Path(folder) / "new.yaml"
    cli.main(["new", str(new), "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)", "--data", "stripes"])
    begun = new.read_text()
scored = [result for result in measure(trainer.model, plan, "validation", images) if result.name == "completeness"]
print(json.dumps({
    "measured": [(result.label, result.unit, result.value) for result in scored],
    "watched": evaluate(trainer.model, plan, images)["y/completeness"],
    "data": dataset.description,
    "held_out": sorted({int(image[0, 0, 0]) % 200 for image in images.images}),
    "counts": known_counts(plan),
    "begun": begun,
    "refused": refused,
    "warnings": [warning.message for warning in plan.warnings],
    "rows": [row.weight_shape, row.inner_shape, row.parameters, row.multiply_adds, row.fan_in],
    "mean": [mean.weight_shape, mean.inner_shape, mean.parameters, mean.multiply_adds, mean.bias],
    "largest": float(trainer.model.network("critic").row("h").weight.abs().max()),
    "source": model_source(plan, trainer.model, plan.title, ""),
    "exported": exported,
    "taken": {loss.name: float(loss.weight(0) / loss.every * found[loss.name] / loss.every) for loss in turn.losses},
    "text": plan_text(plan),
    "latex": latex(plan),
    "drawn": [float(draws["p"]["w"].min()), float(draws["p"]["w"].square().mean())],
    "schema": json.dumps(json_schema()),
}))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "tests" / "tiny.yaml")], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_exported_program_computes_what_is_trained(found: dict[str, Any]) -> None:
    names = {"joint/discriminator", "joint/generator", "joint/flat_fake_penalty"}
    assert set(found["exported"]) == set(found["taken"]) == names
    for name in names:
        assert abs(found["exported"][name] - found["taken"][name]) < 1e-10 * max(1.0, abs(found["taken"][name]))


def test_an_objective_and_a_penalty_are_one_entry_each(found: dict[str, Any]) -> None:
    assert "critic      minimises E_q sp(-d)^2 + E_p sp(d)^2 + 3 E_p |grad d|^2" in found["text"]
    assert r"\mathbb{E}_{q}\left[\zeta(-d(x, y, z))^2\right]" in found["latex"]
    assert '"cubed_trust"' in found["schema"]
    assert '"flat_fake_penalty"' in found["schema"]


def test_an_activation_is_one_entry(found: dict[str, Any]) -> None:
    assert found["warnings"] == []  # `hard_sigmoid` draws [0, 1], as the image has it
    assert "soft_shrink 0.1" in found["text"]
    assert '"soft_shrink 0.5"' in found["schema"]
    assert "`hard_sigmoid` [0, 1]" in found["schema"]
    assert "F.softshrink(self.hx(x), 0.1)" in found["source"]


def test_an_operation_is_one_entry(found: dict[str, Any]) -> None:
    assert found["rows"] == [[4, 1, 3, 3], [4, 3, 3], 36 + 4, 36 * 9, 9]
    assert "valid_conv 4 w3 s2" in found["text"]
    assert "`valid_conv` (a convolution of what is there)" in found["schema"]
    assert "self.hx = nn.Conv2d(1, 4, 3, stride=2)" in found["source"]


def test_an_operation_without_weights_is_one_entry(found: dict[str, Any]) -> None:
    assert found["mean"] == [[], [3, 1, 1], 0, 0, False]
    assert "group_mean of 3 groups" in found["text"]
    assert "`group_mean` (the mean of each group)" in found["schema"]
    assert "hm = torch.mean(groups(h, 3), dim=2)" in found["source"]


def test_an_initializer_is_one_entry(found: dict[str, Any]) -> None:
    assert 0.3 < found["largest"] <= 0.61  # and a step of training
    assert "(truncated 0.3" in found["text"]
    assert '"truncated"' in found["schema"]


def test_a_prior_is_one_entry(found: dict[str, Any]) -> None:
    least, square = found["drawn"]
    assert 0 <= least < 1
    assert 2 < square < 6  # 4 is expected, of 120 numbers
    assert re.search(r"p\(w\) +half_normal\(2\)", found["text"])
    assert r"p(w)" in found["latex"]
    assert "`half_normal(scale)` for |N(0, scale^2)|" in found["schema"]
    assert 'w = 2 * (F.relu(noise["p/w"]) + F.relu(-noise["p/w"]))' in found["source"]


def test_a_measure_is_one_entry(found: dict[str, Any]) -> None:
    by_posterior, by_bayes = found["measured"]
    assert by_posterior == ["C of y", "", found["watched"]]
    assert by_bayes[:2] == ["C of y", ""]
    assert 0 < found["watched"] < 1
    assert '"completeness"' in found["schema"]  # a number that may be published


def test_a_data_set_is_one_entry(found: dict[str, Any]) -> None:
    assert found["data"] == "stripes: images of 1x8x8, 8 classes; 240 training, 80 validation, 40 test"
    assert found["held_out"] == list(range(30, 40))  # the last ones in file order
    assert found["counts"] == [40, 80]
    assert "dataset: stripes" in found["begun"]
    assert "every_epochs: 7" in found["begun"]
    assert "`x` has another shape than the images of `stripes`, 1x8x8" in found["refused"]
    assert "`y` has 7 categories, but `stripes` has 8 classes" in found["refused"]
    assert '"stripes"' in found["schema"]
    assert "`stripes` (rows that are lit)" in found["schema"]
    assert "(of `svhn` and `stripes` the last in file order)" in found["schema"]
