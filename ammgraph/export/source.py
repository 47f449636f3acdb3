"""A plan as a Python program: `model_source` puts its parts together."""

import inspect
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ammgraph import __version__
from ammgraph.data.vectors import Scaling
from ammgraph.diagnostics import RunError
from ammgraph.export import helpers
from ammgraph.export.calls import Call, Function, moved_calls, names_of, score_calls, scoring_calls
from ammgraph.export.code import class_names, docstring, listed, number, text
from ammgraph.export.critics import critic_calls
from ammgraph.export.losses import losses_code, posterior_code
from ammgraph.export.model import (
    askings,
    constant_attributes,
    drawings,
    extra_sites,
    model_code,
    network_attributes,
    sampled_draw,
)
from ammgraph.export.networks import attributes, network_code
from ammgraph.nn import functions, moves
from ammgraph.nn.model import Model
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import data_set_of
from ammgraph.show.text import formula_text
from ammgraph.spec.notation import side_text


def model_source(
    plan: Plan, model: Model, title: str, origin: str, scalings: Mapping[str, Scaling] = MappingProxyType({})
) -> str:
    """The program: helpers, a class for every network, the model, noise, loading, and something to see when it is run.

    Args:
        plan: the compiled spec.
        model: the networks; their constants' shapes are asked for, no weight is.
        title: of the model.
        origin: where the weights come from, in words.
        scalings: of the data's vectors, by data set.
    """
    _refuse_own(plan)
    names = _function_names(plan)
    networks = network_attributes(plan)
    classes = class_names(networks)
    body: list[str] = []
    for network in plan.networks:
        own = {function: name for function, name in names.items() if function.network == network.name}
        body += ["", "", *network_code(network, classes[network.name], own, plan.momentum, plan.epsilon)]
    constants = {site: attribute for site, (attribute, _) in constant_attributes(plan, model).items()}
    spoken = (plan, names, networks, constants)
    body += ["", "", *model_code(plan, model, names, losses_code(*spoken), posterior_code(*spoken))]
    units = [line for of, scaling in scalings.items() for line in (*_units_code(scaling, of), "", "")]
    end = [*_noise_code(plan), "", "", *units, *_LOAD, "", "", *_main(plan, scalings)]
    used = _helpers("\n".join([*body, *end, "draw_noise()"]))  # which whoever calls `losses` needs
    head = _head(plan, title, origin)
    return "\n".join([*head, *_imports("\n".join([*used, *body, *end])), *used, *body, "", "", *end]) + "\n"


def _refuse_own(plan: Plan) -> None:
    """What a program has added is code that an export does not have.

    Raises:
        RunError: a row is such a module, or has such an activation.
    """
    for network in plan.networks:
        for row in network.rows:
            activation = row.activation if row.activation and row.activation.kind.torch.startswith("own.") else None
            if row.own is not None or activation is not None:
                given = f"the module `{row.op}`" if row.own is not None else f"the activation `{activation}`"
                raise RunError(
                    f"export writes what ammgraph has itself, and row `{row.name}` of `{network.name}` is {given}, "
                    "given in Python; use `ammgraph.Run(...).model()` where that is registered"
                )


def _function_names(plan: Plan) -> dict[Function, str]:
    steps = [step for drawing in drawings(plan) for step in drawing.steps]
    steps += [step for asking in askings(plan) for step in asking.steps]
    critics = critic_calls(plan)
    steps += [call for turn in plan.turns for call in (*score_calls(plan, turn), *moved_calls(plan, turn))]
    asked = [asking.posterior for asking in askings(plan) if asking.posterior is not None]
    steps += scoring_calls(plan, asked)
    functions = [step.function for step in [*steps, *critics] if isinstance(step, Call)]
    rows = {network.name: attributes(network).values() for network in plan.networks}
    return names_of(functions, [call.function.network for call in critics], rows)


def _head(plan: Plan, title: str, origin: str) -> list[str]:
    sides = "\n".join(f"    {draw.name} = {' '.join(factor.text for factor in draw.written)}" for draw in plan.draws)
    games = "\n".join(
        f"    {game.name}: {game.discriminator} tells {side_text(game.real)} from {side_text(game.fake)}"
        for game in plan.games
    )
    terms = "\n".join(f"    {term.name}: {formula_text(term.value)}" for term in plan.terms)
    minimised = "\n\n".join(filter(None, (games, terms)))
    return docstring(
        f"{title}\n\n{sides}\n\n{minimised}\n\n"
        f"Written by ammgraph {__version__}, which it does not need. {origin}\n\n"
        "Every tensor is B x C x H x W, a vector of n is B x n x 1 x 1; the comment behind a row is its C x H x W. "
        "Everything random is handed in by name, as `draw_noise` gives it; without its noise a row takes its mean "
        "and drops nothing. `model.train()` and `model.eval()` decide about batch norm alone.",
        "",
    )


def _imports(code: str) -> list[str]:
    lines = ["", "from pathlib import Path", "", "import torch"]
    wanted = [name for name in ("Callable", "Iterator", "Sequence") if f"{name}[" in code]
    if wanted:
        lines.insert(1, f"from collections.abc import {', '.join(wanted)}")
    if "@contextmanager" in code:
        lines.insert(2, "from contextlib import contextmanager")
    lines[1:1] = ["import math"] if "math." in code else []
    lines.append("from torch import Tensor, nn")
    lines += ["from torch.nn import functional as F"] if re.search(r"\bF\.", code) else []
    return [*lines, "", "Noise = dict[str, Tensor]"]


def _helpers(code: str) -> list[str]:
    """The source of every helper that the code calls, and that these call, in the order of their modules."""
    sources = {
        name: inspect.getsource(found)
        for module in (functions, moves, helpers)
        for name, found in vars(module).items()
        if (inspect.isfunction(found) or inspect.isclass(found)) and found.__module__ == module.__name__
    }
    wanted: set[str] = set()
    open_texts = [code]
    while open_texts:
        called = set(re.findall(r"(?<![.\w])(\w+)\(", open_texts.pop())) & set(sources) - wanted
        wanted |= called
        open_texts += [sources[name] for name in called]
    return [line for name, text in sources.items() if name in wanted for line in ("", "", *text.rstrip().split("\n"))]


def _noise_code(plan: Plan) -> list[str]:
    sites = {site.name: site for turn in plan.turns for site in turn.sites}
    sites |= {site.name: site for site in extra_sites(plan)}
    lines = [
        "# Every random tensor of a step: kind, examples, shape of one example, rate of dropout.",
        "NOISE: dict[str, tuple[str, int, tuple[int, ...], float]] = {",
    ]
    for site in sites.values():
        sizes = ", ".join(map(str, site.shape)) + ("," if len(site.shape) == 1 else "")
        entry = [text(site.kind), str(site.batch), f"({sizes})", number(site.dropout)]
        lines += listed(f"    {text(site.name)}: (", entry, "),", "    ")
    return [*lines, "}"]


def _units_code(scaling: Scaling, of: str) -> list[str]:
    """What turns vectors of a data set into what networks read, and back."""
    said, own = (f" of `{of}`", f"_{of}") if of else ("", "")
    units, shift_and_scale = f"UNITS{own.upper()}", f"SHIFT{own.upper()}, SCALE{own.upper()}"
    lines = [f"# What networks read of each number of a vector{said} is (number - shift) / scale.", f"{units} = {{"]
    for name, shift, scale in zip(scaling.columns, scaling.shift, scaling.scale, strict=True):
        lines.append(f"    {text(name)}: ({number(shift)}, {number(scale)}),")
    return [
        *lines,
        "}",
        f"{shift_and_scale} = torch.tensor(list({units}.values()), dtype=torch.float64).T",
        "",
        "",
        f"def scaled{own}(vectors: Tensor) -> Tensor:",
        '    """Vectors (B, n) of the data as networks read them."""',
        f"    return ((vectors.double() - SHIFT{own.upper()}) / SCALE{own.upper()}).float()",
        "",
        "",
        f"def in_units{own}(vectors: Tensor) -> Tensor:",
        '    """Vectors of networks, (B, n) or (B, n, 1, 1), in the units of the data, (B, n)."""',
        f"    return vectors.flatten(1).double() * SCALE{own.upper()} + SHIFT{own.upper()}",
    ]


_LOAD = [
    'WEIGHTS = Path(__file__).with_name("weights.pt")',
    "",
    "",
    "def load(path: Path = WEIGHTS) -> Model:",
    '    """The model with its weights, for evaluation."""',
    "    model = Model()",
    "    model.load_state_dict(torch.load(path, weights_only=True))",
    "    return model.eval()",
]


def _main(plan: Plan, scalings: Mapping[str, Scaling]) -> list[str]:
    lines = ["def main() -> None:"]
    sampled = sampled_draw(plan)
    body = ["model = load()", 'print(f"{sum(p.numel() for p in model.parameters()):,} weights")']
    said = "Count the weights"
    inferring = [asking for asking in askings(plan) if asking.name.startswith("infer")]
    if sampled is not None:
        vector = plan.variable(sampled[1][-1].variables[0]).vector
        said += ", draw some vectors" if vector else ", draw some images"
        draw, factors = sampled
        function = [drawing.name for drawing in drawings(plan) if drawing.draw == draw][-1]
        variable = plan.variable(factors[-1].variables[0])
        low, high = variable.range or (0.0, 1.0)
        parameters = [text(f"{draw.name}/"), "batch=4", "masks=False"]
        body += [
            f"noise = draw_noise({', '.join(parameters)})",
            "with torch.no_grad():",
            f"    samples = model.{function}(noise)",
            f"{'vectors' if vector else 'images'} = samples[{text(variable.name)}]",
        ]
        if vector:
            of = data_set_of(plan, variable.name)
            told = f"in_units{f'_{of}' if of else ''}(vectors)" if of in scalings else "vectors.flatten(1)"
            body.append(f"print({told}.tolist())")
        else:
            body.append(f"print(in_characters(images, {number(low)}, {number(high)}))")
        if inferring and inferring[0].given == (variable.name,):
            said += ", tell what is inferred from them"
            body += _inferred(inferring[0].name, "vectors.flatten(1)" if vector else "images", inferring[0].results)
    elif inferring:
        given = plan.variable(inferring[0].given[0])
        said += f", tell what is inferred from {'a vector of zeros' if given.vector else 'a grey image'}"
        shape = ", ".join(map(str, given.shape))
        value = f"torch.zeros(1, {given.shape[0]})" if given.vector else f"torch.full((1, {shape}), 0.5)"
        body += _inferred(inferring[0].name, value, inferring[0].results)
    lines += docstring(f"{said}.", "    ")
    return [*lines, *(f"    {line}" for line in body), "", "", 'if __name__ == "__main__":', "    main()"]


def _inferred(function: str, value: str, results: Sequence[str]) -> list[str]:
    return [
        "with torch.no_grad():",
        f"    inferred = model.{function}({value})",
        "for name, values in inferred.items():",
        "    print(name, tuple(values.shape), values[0, :8].tolist())",
    ]
