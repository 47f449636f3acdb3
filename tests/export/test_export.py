"""Exported programs: they run where ammgraph is not, and give the outputs and losses of what they were made from."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import torch
from answers import generated, generating, inferred, untrained
from tiny import ALTERNATING, ENUMERATED, INFORMED, LABELED, PATIENCE, PHASES, TERMS, TINY, plan_of
from tiny_runs import Run, files_of, make_run
from torch import Tensor

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.synthetic import synthetic_data
from ammgraph.export.export import exported_weights
from ammgraph.export.model import askings
from ammgraph.export.source import model_source
from ammgraph.nn.model import Model, Parts, build, critic_logits, draw_noise, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import examples_of
from ammgraph.plan.turns import PassPlan
from ammgraph.spec.load import load_spec
from ammgraph.train.step import take_turn
from ammgraph.train.streams import Feed

SPECS = Path(__file__).parent.parent.parent / "specs"
SMALL = ("training.batch_size=4", "training.initializer.weights={kaiming_normal: 0.2}")
CPU = torch.device("cpu")
Stranger = Callable[[Path], None]

# What a person does with an export, in a process that cannot import ammgraph: in one folder after another.
PROGRAM = """
import copy, importlib.util, inspect, os, sys, torch, traceback
sys.modules["ammgraph"] = None
def run():
    spec = importlib.util.spec_from_file_location("model", os.path.abspath("model.py"))
    exported = importlib.util.module_from_spec(spec)
    sys.modules["model"] = exported
    spec.loader.exec_module(exported)
    given = torch.load("given.pt", weights_only=True)
    model = exported.load().to(given["dtype"])
    found = {}
    with torch.no_grad():
        for name, inputs in given["inferred"].items():
            found[name] = getattr(model, name)(*inputs)
        found["critics"] = {}
        for name, call in given["critics"].items():
            for training, masks in ((False, {}), (True, call["masks"])):
                network = copy.deepcopy(getattr(model, call["network"])).train(training)
                one = "forward" in vars(type(network))
                function = network if one else getattr(network, "logit_" + call["row"])
                logits = function(**call["inputs"], noise=masks, **call["parts"])
                found["critics"][f"{name} {training}"] = logits.flatten()
    model.train()
    draws = {}
    for turn, (sides, data) in enumerate(zip(given["draws"], given["data"])):
        for name in sides:
            draw = getattr(model, f"draw_{name}")
            others = [draws[other] for other in inspect.signature(draw).parameters if other in draws]
            draws[name] = draw(*data.get(name, {}).values(), *others, given["noise"][turn])
        losses = model.losses if len(given["draws"]) == 1 else getattr(model, f"losses_{turn + 1}")
        found[f"losses {turn}"] = losses(*(draws[name] for name in sides), given["noise"][turn])
    found["draws"] = draws
    found["sites"] = {name: list(value.shape) for name, value in exported.draw_noise().items()}
    torch.save(found, "found.pt")
for folder in sys.stdin:
    os.chdir(folder.rstrip("\\n"))
    try:
        run()
        said = "done"
    except Exception:
        said = traceback.format_exc()
    print(ascii(said), flush=True)
"""


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    """Runs `PROGRAM` in a folder: torch loads in its process once."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def run(folder: Path) -> None:
            print(folder, file=process.stdin, flush=True)
            said = ast.literal_eval(process.stdout.readline())
            assert said == "done", said

        yield run
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def expected(model: Model, plan: Plan, given: dict[str, Any]) -> dict[str, Any]:
    """The same from ammgraph: first the answers, then the losses, for these move the running statistics."""
    inputs = given["inferred"]
    found: dict[str, Any] = {
        "generate_x": {"x": generated(model, plan, inputs["generate_x"])},
        "critics": logits(model, plan, given),
    }
    found |= {"infer": inferred(model, plan, *inputs["infer"])} if "infer" in inputs else {}
    found["draws"] = {}
    for index, turn in enumerate(plan.turns):
        noise, data = given["noise"][index], given["data"][index]
        others: dict[str, Any] = {}
        for name in turn.draws:
            kept = {key: value.clone() for key, value in model.state_dict().items()}
            others[name] = sample_draw(model, plan.draw(name), data.get(name, {}), noise, Mode.TRAIN, others)
            found["draws"][name] = others[name].samples
            model.load_state_dict(kept)
        values = take_turn(model, plan, turn, data, noise, 0.0).values
        losses = {loss.name: loss.weight(0) / loss.every * values[loss.name] / loss.every for loss in turn.losses}
        found[f"losses {index}"] = losses
    return found


def critic_call(
    plan: Plan, critic: PassPlan, noise: dict[str, Tensor], generator: torch.Generator, dtype: torch.dtype
) -> dict[str, Any]:
    """Inputs of a pass of a discriminator, by their names in it, and its masks, by row."""
    start = f"{critic.evaluation.name}/"
    masks = {name.removeprefix(start): mask for name, mask in noise.items() if name.startswith(start)}
    batch = len(next(iter(masks.values()))) if masks else 6
    over = {name for draw in critic.draws if (f := plan.draw(draw).enumerated) is not None for name in f.variables}
    inputs, parts = {}, {}
    for local, name in critic.evaluation.bindings:
        count = (critic.batch if name in over else critic.examples) if critic.shared else batch
        inputs[local] = torch.rand(count, *plan.variable(name).shape, generator=generator).to(dtype)
    if critic.shared:
        sizes, logits = (examples_of(plan, critic, row) for row in (critic.shared[0], critic.row))
        parts = {"parts": (sizes, [count // size for count, size in zip(logits, sizes, strict=True)])}
    return {"network": critic.evaluation.network, "row": critic.row, "inputs": inputs, "masks": masks, "parts": parts}


def logits(model: Model, plan: Plan, given: dict[str, Any]) -> dict[str, Tensor]:
    """What the discriminators say of the same inputs: by running statistics without masks, then as in training."""
    found = {}
    for index, turn in enumerate(plan.turns):
        for critic in turn.passes_of("scored"):
            name = f"turn {index} {critic.sides}"
            inputs, told = given["critics"][name]["inputs"], given["critics"][name]["parts"]
            parts = Parts(*map(tuple, told["parts"])) if told else None
            for training, mode in ((False, Mode.EVAL), (True, Mode.TRAIN)):
                kept = {key: value.clone() for key, value in model.state_dict().items()}
                noise = given["noise"][index] if training else {}
                with torch.no_grad():
                    said = critic_logits(model, critic, inputs, noise, mode, parts=parts)
                found[f"{name} {training}"] = said.flatten()
                model.load_state_dict(kept)
    return found


def compare(stranger: Stranger, path: Path, folder: Path, dtype: torch.dtype, *overrides: str) -> None:
    plan = plan_of(path, *overrides)
    model = untrained(plan).to(dtype)
    (folder / "model.py").write_text(model_source(plan, model, plan.title, "Its weights are random."))
    torch.save(exported_weights(plan, model), folder / "weights.pt")
    shape = plan.variable("x").shape
    feed = Feed(plan, synthetic_data(plan.data, shape, 10, 400), 0, CPU, dtype)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(4, *shape, generator=generator).to(dtype)
    sizes = [plan.variable(name).shape[0] for name in generating(plan).factor_of("x").given]
    given = {
        "dtype": dtype,
        "inferred": {
            **({"infer": [images]} if any(asking.name == "infer" for asking in askings(plan)) else {}),
            "generate_x": [torch.rand(4, size, generator=generator).to(dtype) for size in sizes],
        },
        "draws": [list(turn.draws) for turn in plan.turns],
        "data": [feed.batches(turn) for turn in plan.turns],
        "noise": [{s.name: draw_noise(s, generator, CPU, dtype) for s in turn.sites} for turn in plan.turns],
    }
    for index, turn in enumerate(plan.turns):
        if turn.partial:  # an exported draw is whole
            for noise, data in zip(given["noise"], given["data"], strict=True):
                given["noise"][index] = noise | given["noise"][index]
                given["data"][index] = data | given["data"][index]
    given["critics"] = {
        f"turn {index} {critic.sides}": critic_call(plan, critic, given["noise"][index], generator, dtype)
        for index, turn in enumerate(plan.turns)
        for critic in turn.passes_of("scored")
    }
    torch.save(given, folder / "given.pt")
    wanted = expected(model, plan, given)
    stranger(folder)
    found = torch.load(folder / "found.pt", weights_only=True)
    # A site's tensor has the shape that a step of training gives it.
    for noise in given["noise"]:
        assert {name: list(value.shape) for name, value in noise.items()}.items() <= found["sites"].items()
    close(found, wanted, 1e-6 if dtype == torch.float32 else 1e-12)


def close(found: Any, wanted: Any, tolerance: float) -> None:
    if isinstance(wanted, Tensor):
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
        return
    for name, value in wanted.items():
        close(found[name], value, tolerance)


@pytest.mark.parametrize("name", ["amm_digits", "amm_digits_games", "amm_mnist_q1"])
def test_an_export_has_the_outputs_and_losses_of_its_run(name: str, stranger: Stranger, tmp_path: Path) -> None:
    compare(stranger, SPECS / f"{name}.yaml", tmp_path, torch.float64, *SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["amm_mnist", "amm_mnist_fixed_prior", "amm_mnist_q2", "samm_mnist", "samm_svhn_q1"])
def test_the_larger_ones_too(name: str, stranger: Stranger, tmp_path: Path) -> None:
    compare(stranger, SPECS / f"{name}.yaml", tmp_path, torch.float64, *SMALL)


@pytest.mark.parametrize("name", ["amm_mnist", "amm_mnist_q1", "samm_svhn"])
def test_in_single_precision_to_a_millionth(name: str, stranger: Stranger, tmp_path: Path) -> None:
    compare(stranger, SPECS / f"{name}.yaml", tmp_path, torch.float32, "training.batch_size=4")


VARIANTS = {
    "alternating turns": (TINY, ALTERNATING),
    "two games in one pass": (LABELED,),
    "penalties at the loss's own points": (TINY, "games.joint={match: [q, p], discriminator: critic.p, "
        "objective: hinge, weight: [[0, 0.3], [5, 1]], roth_penalty: {gamma: 2}, r1_penalty: {gamma: 3}}"),
    "separate batches": (TINY, "games.joint.batch=separate", "games.joint.objective=least_squares"),
    "batch norm in a critic under eq. 18": (TINY, "networks.critic.layers.h.batchnorm=true",
        "games.joint.objective=minimax"),
    "Wasserstein, other statistics": (TINY, "games.joint.objective=wasserstein",
        "training.batchnorm={momentum: 0.3, epsilon: 1e-3}"),
    "affine maps": (TINY, "networks.encoder.layers.v={input: x, activation: random_affine 0.2}",
        "networks.encoder.layers.h.input=v", "networks.critic.layers.v={input: x, activation: random_affine 0.1}",
        "networks.critic.layers.hx.input=v"),
    "weights that are normalised": (TINY, "networks.encoder.layers.h.weightnorm=true",
        "networks.decoder.layers.x.weightnorm=true", "networks.components.layers.z_mu.spectralnorm=true",
        "networks.decoder.layers.h.spectralnorm=true", "networks.critic.layers.hx.weightnorm=true",
        "networks.critic.layers.h.spectralnorm=true", "networks.critic.layers.p.spectralnorm=true"),
    "norms of one example": (TINY, "networks.encoder.layers.h.norm=layer",
        "networks.decoder.layers.h={input: y | z, channels: 16, width: 1, norm: group 4, activation: tanh}",
        "networks.critic.layers.c={input: x, channels: 4, width: 3, norm: instance, activation: leaky_relu 0.2}",
        "networks.critic.layers.hx={input: c, channels: 16, width: 6, norm: group 2}"),
    "an image by a matrix": (TINY, "networks.decoder.layers.x={input: h, op: linear, shape: [1, 8, 8], "
        "weightnorm: true, activation: sigmoid}", "networks.encoder.layers.v={input: x, op: linear, "
        "shape: [2, 4, 4], norm: instance}", "networks.encoder.layers.h={input: v, channels: 3, width: 4}"),
    "what is chosen, turned and mirrored": (TINY,
        "networks.components.layers.m={input: zeros(16), channels: 40, width: 1}",
        "networks.components.layers.z_mu={input: m, choose: y}",
        "networks.encoder.layers.v={input: x, activation: quarter_turn 3}", "networks.encoder.layers.h.input=v",
        "networks.critic.layers.v={input: x, activation: flip}", "networks.critic.layers.hx.input=v",
        "networks.critic.layers.c={input: hx | z, choose: z, activation: tanh}",
        "networks.critic.layers.h.input=hx | c | y"),
    "a category with every value beside a vector from one network": (TINY,
        "distributions.q={q(x): data, 'q(y|x)': {enumerate: encoder.y}, 'q(z|x)': encoder.z}",
        "games.joint={match: [q, p], discriminator: critic.p, objective: hinge}"),
    "rectangles": (TINY, "networks.critic.layers.c={input: x, channels: 4, width: [3, 2], stride: [1, 2], "
        "padding: [1, 0], pool: avg 2 by 4}", "networks.critic.layers.hx={input: c, channels: 16, width: [4, 1]}",
        "networks.decoder.layers.h2={input: h, op: conv_transpose, channels: 4, width: [4, 2]}",
        "networks.decoder.layers.x={input: h2, op: conv_transpose, channels: 1, width: [4, 4], stride: [2, 4], "
        "padding: [1, 0], activation: sigmoid}"),
    "products": (TINY, "networks.decoder.layers.g={input: z, channels: 16, width: 1, activation: sigmoid}",
        "networks.decoder.layers.x.input=g * h + g",
        "networks.components.layers.z_mu={input: y, channels: 4, width: 1}",
        "networks.components.layers.z={input: z_mu * z_mu + z_sigma}",
        "networks.critic.layers.c={input: x, channels: 4, width: 3}",
        "networks.critic.layers.s={input: y, channels: 4, width: 1}",
        "networks.critic.layers.hx={input: c * s + s | s * s, op: linear, channels: 16}"),
    "products in densities": (TERMS, "networks.encoder.layers.z.input=z_mu * z_mu + z_sigma"),
    "images that grow by repetition": (TINY, "networks.decoder.layers.u={input: h, op: linear, shape: [4, 2, 4], "
        "activation: leaky_relu 0.2, upsample: nearest 4 by 2}", "networks.decoder.layers.x={input: u, channels: 1, "
        "width: 3, padding: 1, dropout: 0.2, activation: sigmoid}",
        "networks.critic.layers.u={input: x, upsample: nearest 2}",
        "networks.critic.layers.hx={input: u, channels: 16, width: 16}"),
    "attention": (TINY, "networks.critic.layers.c={input: x, channels: 12, width: 4, stride: 2}",
        "networks.critic.layers.a={input: c, op: attention, channels: 4, heads: 2, activation: tanh}",
        "networks.critic.layers.hx={input: a, channels: 16, width: 3}"),
    "noise on inputs": (TINY, "networks.encoder.layers.h.noise=0.3", "networks.encoder.layers.y.noise=0.5",
        "networks.decoder.layers.x.noise=0.1", "networks.critic.layers.h.noise=0.2",
        "networks.critic.layers.p.noise=0.4"),
    "groups of channels": (TINY, "networks.encoder.layers.m={input: h, op: max, channels: 8, activation: tanh}",
        "networks.encoder.layers.y.input=m", "networks.critic.layers.p={input: h, channels: 6, width: 1}",
        "networks.critic.layers.l={input: p, op: lse, channels: 1, noise: 0.1, dropout: 0.2}",
        "games.joint={match: [q, p], discriminator: critic.l, objective: jensen_shannon, roth_penalty: {gamma: 2}, "
        "gradient_penalty: {lambda: 1}}"),
    "a hard category, names that Python has": (TINY, "networks.encoder.layers.y.activation=straight_through",
        "networks.decoder.layers.type={input: z, channels: 16, width: 1, activation: tanh}",
        "networks.decoder.layers.lambda={input: zeros(16), activation: softplus}",
        "networks.decoder.layers.h.input=type + lambda | y"),
    "a turn that draws less": (TINY, "networks.judge={layers: {d: {input: x, op: linear, channels: 1}}}",
        "games.images={match: [q, p], discriminator: judge.d, objective: hinge}",
        "training.schedule=[{update: [judge], games: [images]}, "
        "{update: [critic, encoder, components, decoder, judge]}]"),
    "terms without a game": (TERMS, "terms.prior.weight=2"),
    "terms and a game, by turns": (INFORMED,),
    "terms, by phases": (PHASES,),
    "what terms measure": (TERMS, "terms.more.minimize=E[q] log q(z|x) - 0.5 * E[q] H(q(z|x)) "
        "+ E[q] KL(q(z|x) || m(z)) - E[q] log m(z) + KL(E[q] c(y|x) || p(y)) + E[q] KL(c(y|x) || q(y|x))",
        "terms.far.minimize=l1(E[q] x, E[p] x) + E[q] l2(x, decoder.x) + E[q] l1(encoder.h)",
        "terms.sums.minimize=E[q] exp(encoder.z_mu) - exp(E[p] encoder.h) + E[p] softplus(encoder.h) "
        "- E[q] sum(encoder.h)",
        "terms.turned.minimize=KL(p(y) || E[q] c(y|x)) - 2/3 * KL(p(y) || E[p] c(y|x))",
        "terms.whole.minimize=KL(p(y) || E[q] q(y|x))",
        "distributions.m={m(z): 'normal(0.5, 2)'}"),
    "constants and moved samples": (TERMS, "networks.classifier.layers.h.batchnorm=true",
        "variables.r={type: real, size: 1}", "networks.encoder.layers.z_mu.dropout=0.3",
        "distributions.q={q(x): data, q(y|x): encoder.y, q(z|x): encoder.z, q(r): 'uniform(1, 2)'}",
        "terms.smooth.minimize=E[q] vat(c(y|x), x, 0.25 * r, 10) + E[p] vat(q(z|x), x, 2, 0.1)",
        "terms.still.minimize=E[q] KL(stop c(y|x) || q(y|x)) - E[p] log stop c(y|x) + E[q] l2(stop x, decoder.x) "
        "+ l1(E[q] stop encoder.h, E[p] encoder.h) + E[q] KL(stop q(z|x) || p(z))",
        "terms.classes.minimize=-E[p] log c(y|x)"),
    "passes that terms do not learn from": (TERMS, "networks.classifier.layers.h.batchnorm=true",
        "networks.encoder.layers.h.batchnorm=true", "terms.classes.minimize=-E[p] log c(y|x)",
        "terms.still.minimize=E[q] KL(stop c(y|x) || q(y|x)) + E[q] vat(q(z|x), x, 2, 0.1)"),
    "floors, and all examples of a batch": (TERMS,
        "terms.floor.minimize=max(E[q] KL(q(z|x) || p(z)), 0.3) + 2 * E[q] max(KL(q(z|x) || p(z)), 1/7) "
        "- max(H(E[q] c(y|x)), 9)",
        "terms.batch.minimize=0.8 * pull_away[p](classifier.h) - balance[q](classifier.h, 2) "
        "+ max(affinity[p](stop classifier.h, 4), -1) + affinity[q](encoder.z_mu)",
        "terms.spread.minimize=pull_away[p](classifier.h)"),
    "every value of a category": (ENUMERATED,),
    "every value, with batch norm and fixed components": (ENUMERATED, "networks.critic.layers.h.batchnorm=true",
        "games.pairs={match: [l, c], discriminator: critic.d, objective: least_squares}",
        "networks.weights=null", "networks.components=null", "distributions.p={'p(y)': empirical, "
        "'p(z|y)': {mixture: {means: {normal: 2}, scale: 0.5}}, 'p(x|z)': decoder.x}",
        "terms.more.minimize=E[q] log q(y|z) - E[q] log p(z|y) + H(E[q] q(y|z)) - E[c] log c(y|x)",
        "terms.spread.minimize=E[q] H(p(z|y)) - 0.5 * E[q] log p(y) + 2 * E[c] log n(y)",
        "distributions.n={n(y): uniform}"),
    "normal images": (TERMS, "variables.n={type: image, shape: [2, 4, 4], range: [-1, 1]}",
        "networks.encoder.layers.n_mu={input: h, op: linear, shape: [2, 4, 4]}",
        "networks.encoder.layers.n_sigma={input: h, op: linear, shape: [2, 4, 4], activation: expn}",
        "networks.encoder.layers.n={input: n_mu + n_sigma}",
        "networks.decoder.layers.s={input: h, op: conv_transpose, channels: 1, width: 8, activation: expn}",
        "networks.decoder.layers.m={input: h, channels: 1, width: 1}",
        "networks.decoder.layers.x={input: m + m * m + s}", "networks.encoder.layers.w={input: w_sigma}",
        "networks.encoder.layers.w_sigma={input: h, op: linear, shape: [2, 4, 4], activation: expn}",
        "variables.w={type: image, shape: [2, 4, 4], range: [-1, 1]}",
        "distributions.q={q(x): data, q(y|x): encoder.y, q(z|x): encoder.z, q(n|x): encoder.n, q(w|x): encoder.w}",
        "distributions.p={p(y): uniform, p(z): normal, p(n): normal, p(w): 'normal(0, 3)', 'p(x|y,z)': decoder.x}",
        "terms.reconstruction.minimize=-E[q] log p(x|y,z) + E[q] H(p(x|y,z))",
        "terms.noise.minimize=E[q] KL(q(n|x) || p(n)) + 2 * E[q] KL(p(n) || q(n|x)) + 3 * E[q] log q(n|x) "
        "- E[q] log p(n) + 4 * E[q] KL(stop q(w|x) || p(w)) + E[q] KL(q(w|x) || q(n|x)) + 5 * E[q] log p(w)"),
    "categories of probability 0": (ENUMERATED, "networks.weights=null",
        "distributions.p={'p(y)': [0.5, 0.3, 0.2, 0, 0, 0, 0, 0, 0, 0], 'p(z|y)': components.z, 'p(x|z)': decoder.x}",
        "distributions.m={'m(y)': [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]}",
        "terms.more.minimize=E[q] H(q(y|z)) - E[q] log p(y) + KL(m(y) || p(y)) + KL(m(y) || E[c] c(y|x))"),
    "networks that are not trained": (TINY, "networks.decoder.trainable=false", "networks.encoder.trainable=false",
        "networks.encoder.layers.h.batchnorm=true"),
    "what does not depend on the value": (ENUMERATED, "networks.critic.layers.hx={input: x, channels: 16, width: 8, "
        "dropout: 0.2, noise: 0.1, batchnorm: true, activation: leaky_relu 0.2}",
        "networks.critic.layers.d={input: h | x, op: linear, channels: 1}",
        "games.pairs={match: [l, 1/2 p + 1/2 c], discriminator: critic.d, objective: minimax}",
        "networks.renderer.layers.t={input: z, channels: 16, width: 1, dropout: 0.3, activation: leaky_relu 0.2}",
        "networks.renderer.layers.h={input: t | y | z, channels: 16, width: 1, batchnorm: true, activation: tanh}"),
    "values that choose": (ENUMERATED, "variables.w={type: real, size: 4}",
        "networks.encoder.layers.w={input: h, channels: 4, width: 1}",
        "networks.components={layers: {h: {input: w, channels: 16, width: 1, batchnorm: true, activation: tanh}, "
        "means: {input: h, channels: 40, width: 1}, z_mu: {input: means, choose: y}, "
        "z_sigma: {input: h, channels: 4, width: 1, activation: expn}, z: {input: z_mu + z_sigma}}}",
        "distributions.q={q(x): data, q(z|x): encoder.z, q(w|x): encoder.w, 'q(y|z,w)': {bayes: p}}",
        "distributions.p={p(w): normal, p(y): weights.y, 'p(z|y,w)': components.z, p(x|z): decoder.x}",
        "terms.code.minimize=E[q] KL(q(z|x) || p(z|y,w))", "terms.category.minimize=E[q] KL(q(y|z,w) || p(y))",
        "terms.chosen.minimize=E[q] log p(z|y,w) + E[q] l2(components.h)"),
    "components with covariances": (ENUMERATED, "networks.components.layers.z_sigma={input: y, channels: 4, width: 1, "
        "activation: cholesky}", "networks.encoder.layers.z_sigma={input: h, op: linear, channels: 4, "
        "activation: cholesky}",
        "terms.more.minimize=E[q] log q(z|x) - E[q] log p(z|y) - E[q] H(q(z|x)) + E[q] H(p(z|y))"),
    "names that stand for others": (TERMS, "variables.y2={type: categorical, size: 10}",
        "variables.z2={type: real, size: 4}", "variables.x2={type: image, shape: [1, 8, 8]}",
        "networks.both={layers: {h: {input: x, op: linear, channels: 8, activation: tanh}, "
        "y: {input: h, channels: 10, width: 1, activation: softmax}, z_mu: {input: h | y, channels: 4, width: 1}, "
        "z_sigma: {input: h, channels: 4, width: 1, activation: expn}, z: {input: z_mu + z_sigma}}}",
        "distributions.r={r(x): q.x, r(y): p.y, r(y2): uniform}", "distributions.s={s(x2): q.x, s(y2): uniform, "
        "s(z2): normal}", "distributions.m={m(z|y): {mixture: {means: {normal: 2}, scale: 0.5}}}",
        'distributions.e={"e(y2|x2)": both(x=x2).y, "e(z2|x2,y2)": both(x=x2).z}',
        "terms.row.minimize=E[r] l2(encoder.y, y)", "terms.at.minimize=E[r] KL(q(z|x) || m(z|y=y2))",
        "terms.names.minimize=-E[s] log e(z2|x2,y2) - E[s] log e(y2|x2)"),
    "an image of a label that both sides have": (TINY, "data.labeled={count: all}",
        "networks.encoder.layers.y=null", "distributions.q={'q(x,y)': data.labeled, q(z|x): encoder.z}",
        "distributions.p={p(y): q.y, p(z|y): components.z, 'p(x|y,z)': decoder.x}"),
    "batch norm of rows that are drawn": (TERMS, "networks.encoder.layers.z_mu.batchnorm=true",
        "networks.encoder.layers.h.batchnorm=true", "networks.classifier.layers.h.batchnorm=true"),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_what_a_spec_can_say_is_exported(variant: str, stranger: Stranger, tmp_path: Path) -> None:
    path, *overrides = VARIANTS[variant]
    compare(stranger, path, tmp_path, torch.float64, *overrides)


def test_exported_terms_have_the_gradients_and_leave_the_statistics_of_a_step(tmp_path: Path) -> None:
    norms = [f"networks.{row}.batchnorm=true" for row in ("encoder.layers.h", "classifier.layers.h")]
    plan = compile_spec(load_spec(TERMS, (*norms, "terms.prior.weight=2")))
    model, (turn,) = untrained(plan).double(), plan.turns
    program: dict[str, Any] = {"__file__": str(tmp_path / "model.py"), "__name__": "exported"}
    exec(model_source(plan, model, plan.title, ""), program)
    exported = program["Model"]().double()
    exported.load_state_dict(exported_weights(plan, model))
    generator = torch.Generator().manual_seed(1)
    data = Feed(plan, synthetic_data(plan.data, (1, 8, 8), 10, 400), 0, CPU, torch.float64).batches(turn)
    noise = {site.name: draw_noise(site, generator, CPU, torch.float64) for site in turn.sites}
    q, p = exported.draw_q(data["q"]["x"], noise), exported.draw_p(noise)
    losses = exported.losses(q, p, noise)
    outcome = take_turn(model, plan, turn, data, noise, 0.0)
    for objective in turn.objectives:
        total = sum(losses[name] for name in objective.losses)
        for name in objective.networks:
            found = torch.autograd.grad(total, list(getattr(exported, name).parameters()), retain_graph=True)
            norm = torch.stack([gradient.norm() for gradient in found]).norm()
            torch.testing.assert_close(norm, outcome.values[f"{name}/gradient_norm"], rtol=1e-10, atol=1e-12)
    after = exported_weights(plan, model)
    torch.testing.assert_close(exported.encoder.h_norm.running_mean, after["encoder.h_norm.running_mean"])
    torch.testing.assert_close(exported.classifier.h_norm.running_var, after["classifier.h_norm.running_var"])


def test_exported_weights_of_losses_follow_their_schedules(tmp_path: Path) -> None:
    schedules = {
        "prior": "{cosine: [4, 1], over: 30, warmup: 10, by: steps}",
        "reconstruction": "{cosine: [2, 1], over: 8}",
    }
    plan = compile_spec(load_spec(TERMS, [f"terms.{name}.weight={value}" for name, value in schedules.items()]))
    model, (turn,) = untrained(plan).double(), plan.turns
    program: dict[str, Any] = {"__file__": str(tmp_path / "model.py"), "__name__": "exported"}
    exec(model_source(plan, model, plan.title, ""), program)
    exported = program["Model"]().double()
    exported.load_state_dict(exported_weights(plan, model))
    generator = torch.Generator().manual_seed(1)
    data = Feed(plan, synthetic_data(plan.data, (1, 8, 8), 10, 400), 0, CPU, torch.float64).batches(turn)
    noise = {site.name: draw_noise(site, generator, CPU, torch.float64) for site in turn.sites}
    q, p = exported.draw_q(data["q"]["x"], noise), exported.draw_p(noise)
    plain = take_turn(model, plan, turn, data, noise, 4.0, 20).values  # before their weights
    found = exported.losses(q, p, noise, epoch=4.0, step=20)
    expected = {"prior/value": 2.5, "reconstruction/value": 1.5}  # both half way down
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight * plain[name], rtol=1e-10, atol=1e-12)
    rising = exported.losses(q, p, noise, step=5)["prior/value"]
    torch.testing.assert_close(rising, 2 * plain["prior/value"], rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(shutil.which("ruff", path=str(Path(sys.executable).parent)) is None, reason="ruff is not installed")
def test_the_code_of_every_spec_is_formatted(tmp_path: Path) -> None:
    for path in [*SPECS.glob("*.yaml"), TINY, LABELED, TERMS, INFORMED, PHASES, ENUMERATED]:
        plan = plan_of(path)
        model = build(plan, torch.Generator(), torch.full((10,), 0.1))
        source = model_source(plan, model, plan.title, "Its weights are random.")
        (tmp_path / f"{path.stem}.py").write_text(source)
        assert "import ammgraph" not in source
        assert "from ammgraph" not in source
    ruff = [str(Path(sys.executable).parent / "ruff")]
    for words in (["check"], ["format", "--check", "--diff"]):
        done = subprocess.run([*ruff, *words, "--isolated", tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_writes_a_program_that_runs_by_itself(ammgraph: Run, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY)
    before = files_of(folder)
    code, out, err = ammgraph("export", folder, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.split() == [str(tmp_path / "out" / "model.py"), str(tmp_path / "out" / "weights.pt")]
    assert files_of(folder) == before
    said = " ".join((tmp_path / "out" / "model.py").read_text().split())
    assert "Its weights are those of a run of `tiny` after 3 steps." in said
    hidden = 'import sys, runpy; sys.modules["ammgraph"] = None; runpy.run_path("model.py", run_name="__main__")'
    done = subprocess.run(
        [sys.executable, "-c", hidden], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "4,224 weights"
    assert [len(line) for line in lines[1:9]] == [4 * 8 + 3 * 2] * 8
    assert lines[9].startswith("y (4, 10) [")
    assert lines[10].startswith("z (4, 4) [")


def test_an_export_is_not_overwritten(ammgraph: Run, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY)
    assert ammgraph("export", folder)[0] == 0
    (folder / "export" / "model.py").write_text("mine")
    code, out, err = ammgraph("export", folder)
    assert (code, out) == (1, "")
    assert err.endswith("model.py exists, and may have been edited; name another folder with `--output`\n")
    assert (folder / "export" / "model.py").read_text() == "mine"


def test_a_link_to_nothing_is_in_the_way_of_an_export_too(ammgraph: Run, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "weights.pt").symlink_to(tmp_path / "elsewhere")
    code, out, err = ammgraph("export", folder, "-o", tmp_path / "out")
    assert (code, out, "weights.pt exists, and may have been edited" in err) == (1, "", True)
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_exported_through_a_link_in_the_run(ammgraph: Run, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY)
    (tmp_path / "mine").mkdir()
    (folder / "export").symlink_to(tmp_path / "mine")
    code, out, err = ammgraph("export", folder)
    assert (code, out) == (1, "")
    assert err.endswith("export is a link, and nothing is written through links: remove it\n")
    assert list((tmp_path / "mine").iterdir()) == []
