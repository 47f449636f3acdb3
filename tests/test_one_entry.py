"""A new thing of the language is one entry in one table: it is read, planned, trained, printed and exported."""

import json
import subprocess
import sys
from pathlib import Path

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
    "gamma", False, "The squared gradient norm at FAKE.", 1,
)

import torch
from pathlib import Path
from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.export.source import model_source
from ammgraph.show.latex import latex
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_spec
from ammgraph.start.json_schema import json_schema
from ammgraph.train.trainer import Trainer

game = "{match: [q, p], discriminator: critic.p, objective: cubed_trust, flat_fake_penalty: {gamma: 3, every: 2}}"
spec = load_spec(sys.argv[1], [f"games.joint={game}"])
plan = compile_spec(spec)
trainer = Trainer(plan, load_data(plan.data, None), 0, torch.device("cpu"), "float64")
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
print(json.dumps({
    "exported": exported,
    "taken": {loss.name: float(loss.weight(0) / loss.every * found[loss.name] / loss.every) for loss in turn.losses},
    "text": plan_text(plan),
    "latex": latex(plan),
    "schema": json.dumps(json_schema()),
}))
"""


def test_an_objective_and_a_penalty_are_one_entry_each() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "tests" / "tiny.yaml")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    names = {"joint/discriminator", "joint/generator", "joint/flat_fake_penalty"}
    assert set(found["exported"]) == set(found["taken"]) == names
    for name in names:
        assert abs(found["exported"][name] - found["taken"][name]) < 1e-10 * max(1.0, abs(found["taken"][name]))
    assert "critic      minimises E_q sp(-d)^2 + E_p sp(d)^2 + 3 E_p |grad d|^2" in found["text"]
    assert r"\mathbb{E}_{q}\left[\zeta(-d(x, y, z))^2\right]" in found["latex"]
    assert '"cubed_trust"' in found["schema"]
    assert '"flat_fake_penalty"' in found["schema"]
