"""`ammgraph sample`: examples from the synthesis side p of a run.

Images as a grid in a `.png`, vectors as a table in a `.csv` or a `.parquet`, both as arrays in an `.npz`.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.records import machine_memory, scale_images
from ammgraph.data.vectors import Scaling
from ammgraph.diagnostics import RunError, alternatives, counted, nearest
from ammgraph.evaluation.conditional import Chain, chain_of, check_categories, sample_chain, start_of, starts_of
from ammgraph.evaluation.examples import read_given, scaling_of
from ammgraph.evaluation.loading import LoadedModel, load_model
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.sample_files import Samples, check_sample_output, write_samples
from ammgraph.evaluation.synthesis import generate, unit
from ammgraph.nn.model import Model, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.cost import bytes_text
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.evaluation_cost import BATCH
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import (
    ancestry,
    data_set_of,
    field_name,
    generating_draws,
    label_needed,
    main_example,
    on_data_set,
    prior_category,
    record_kind,
)
from ammgraph.runs.outputs import refuse_input

PER_COMPONENT = 10


@dataclass(frozen=True)
class Asked:
    """What is sampled.

    Args:
        variable: an observed one; the first that priors and networks draw unless given.
        source: the distribution that draws it; the first that does unless given.
        given: categorical variable -> its category, from 0, in place of one that is drawn.
        examples: what the distribution reads from data, as `read_given` takes it; then it is one that starts from data.
    """

    variable: str | None = None
    source: str | None = None
    given: Mapping[str, int] = field(default_factory=dict)
    examples: Path | Tensor | None = None


def sample_run(
    folder: Path,
    output: Path | None,
    device: torch.device,
    component: int | None = None,
    count: int | None = None,
    interpolate: int | None = None,
    seed: int = 0,
    force: bool = False,
    asked: Asked = Asked(),
) -> Samples:
    """Sample a run's newest checkpoint; the run itself is not changed, and needs no data set.

    Args:
        folder: the run directory.
        output: where it is written, of images a `.png`, a grid of them; of vectors a `.csv` or a `.parquet`; of both an
            `.npz` with them and their latents. Nothing is written unless given.
        device: where the model runs.
        component: the one component to sample. Without it all, a row each; a model without components gives one block.
        count: images of each component (10 unless given); with `interpolate` paths (one of each component, else 10).
        interpolate: images on a straight line between two draws of z with the same y, both ends included; a row each.
        seed: of the noise.
        force: whether a file that is there is replaced whatever it is; else only images of `sample`.
        asked: which variable, of which distribution, given which categories.

    Raises:
        RunError: as `load_model`; nothing to sample, no such component; the file cannot be written, or is not to be
            replaced.
    """
    if output is not None:
        if isinstance(asked.examples, Path):
            refuse_input(output, asked.examples)
        check_sample_output(output, None, force)
    if asked.examples is not None and (component is not None or interpolate is not None):
        name = "component" if component is not None else "interpolate"
        hint = "give a category, `--set y=3`" if component is not None else "leave one of them out"
        raise RunError(f"`{name}` is of samples from priors alone, and `examples` are given; {hint}")
    loaded = load_model(folder, device)
    plan = loaded.plan
    start = None if asked.examples is None else start_of(plan, asked.variable, asked.source)
    name = start.variable if start else generating(plan, asked.variable, asked.source, asked.given, by_label=True)[0]
    if output is not None:
        check_sample_output(output, "image" if plan.variable(name).kind == "image" else "vector", force)
    if start is None or asked.examples is None:
        scaling = loaded.settings.scaling_of(data_set_of(plan, name))
        samples = draw_samples(loaded.model, plan, component, count, interpolate, seed, asked, scaling=scaling)
    else:
        chain = chain_of(start, asked.given)
        samples = draw_given(loaded, chain, asked.examples, PER_COMPONENT if count is None else count, seed)
    if output is not None:
        write_samples(samples, output)
    return samples


def draw_given(loaded: LoadedModel, chain: Chain, examples: Path | Tensor, count: int, seed: int) -> Samples:
    """`count` samples given each example, a row each.

    Raises:
        RunError: the examples are not the model's, the machine has no memory for so many samples.
    """
    _check_least("count", count, 1)
    _check_least("seed", seed, 0)
    plan, name = loaded.plan, chain.start.variable
    values, names = read_given(loaded, examples, chain.example)
    _check_memory(plan, name, chain.variables, count * len(values))
    drawn = sample_chain(loaded.model, chain, values, count, seed)
    scaling = loaded.settings.scaling_of(data_set_of(plan, name)) if plan.variable(name).vector else None
    return Samples(
        variable=name,
        images=_examples(plan, name, drawn[name], scaling),
        latents=_latents(plan, name, drawn),
        columns=count,
        by=chain.text,
        names=() if scaling is None else scaling.columns,
        examples=names,
        originals=_originals(loaded, chain, values),
    )


def _originals(loaded: LoadedModel, chain: Chain, examples: Tensor) -> Array | None:
    """The examples as a person has them, where they are of the kind and the shape of what is sampled."""
    drawn, read = (loaded.plan.variable(name) for name in (chain.start.variable, chain.reads))
    if (drawn.kind, drawn.vector, drawn.shape) != (read.kind, read.vector, read.shape):
        return None
    scaling = scaling_of(loaded, chain.example)
    return _bytes(scale_images(examples, 0, 1)) if scaling is None else scaling.undo(examples).flatten(1).numpy()


@torch.no_grad()
def draw_samples(
    model: Model,
    plan: Plan,
    component: int | None = None,
    count: int | None = None,
    interpolate: int | None = None,
    seed: int = 0,
    asked: Asked = Asked(),
    *,
    scaling: Scaling | None = None,
) -> Samples:
    """The examples of `sample_run`, from a model; see there. `scaling` is how vectors of the variable were scaled."""
    _check_least("count", count, 1)
    _check_least("seed", seed, 0)
    _check_least("interpolate", interpolate, 2)
    name, draw = generating(plan, asked.variable, asked.source, asked.given, by_label=True)
    if interpolate is not None and all(plan.variable(of).kind != "real" for of in draw.factor_of(name).given):
        raise RunError(f"`{draw.factor_of(name).text}` has no real latent to interpolate; leave `interpolate` out")
    category = label_needed(plan, draw, name, asked.given) or prior_category(plan, draw, name)
    given = checked_categories(plan, draw, name, asked.given)
    if component is not None and category in given:
        raise RunError(f"`{category}` is given twice: component {component}, and {given[category]}")
    rows = _rows(plan, category, given.get(category, component))
    each = count or (PER_COMPONENT if interpolate is None or len(rows) == 1 else 1)
    everything = [variable for factor in draw.factors for variable in factor.variables]
    _check_memory(plan, name, everything, each * len(rows) * (interpolate or 1))
    fixed = {variable: torch.full((each * len(rows),), value) for variable, value in given.items()}
    fixed |= {category: torch.tensor(rows).repeat_interleave(each)} if category else {}
    if interpolate is None:
        columns = each if len(rows) > 1 else math.ceil(math.sqrt(each))
        drawn = generate(model, plan, draw, name, fixed, each * len(rows), seed)
    else:
        columns = interpolate
        drawn = _paths(model, plan, draw, name, fixed, each * len(rows), interpolate, seed)
    return Samples(
        variable=name,
        images=_examples(plan, name, drawn[name], scaling),
        latents=_latents(plan, name, drawn),
        columns=columns,
        by=" ".join(factor.text for factor in draw.factors),
        components=tuple(np.repeat(rows, each * (interpolate or 1))[::columns].tolist()) if category else (),
        names=() if scaling is None else scaling.columns,
    )


def _check_least(name: str, value: int | None, least: int) -> None:
    if not isinstance(value, int | None):
        raise RunError(f"`{name}` is {value}, expected a whole number")
    if value is not None and value < least:
        raise RunError(f"`{name}` is {value}, expected at least {least}")


def _examples(plan: Plan, name: str, drawn: Tensor, scaling: Scaling | None) -> Array:
    """What was sampled, as a person has it: bytes, or numbers in the units of the data."""
    if plan.variable(name).kind == "image":
        return _bytes(unit(plan, name, drawn))
    if scaling is not None and not _has_its_scales(plan, name):
        raise RunError(f"`{name}` has scales of its own, which a run does not keep; sample another variable")
    return (drawn.cpu().double() if scaling is None else scaling.undo(drawn)).flatten(1).cpu().numpy()


def _bytes(images: Tensor) -> Array:
    """Images in [0, 1] as 0 to 255."""
    return (images * 255).round().to(torch.uint8).cpu().numpy()


def _latents(plan: Plan, name: str, drawn: Mapping[str, Tensor]) -> dict[str, Array]:
    return {other: _plain(plan, other, values) for other, values in drawn.items() if other != name}


def generating(
    plan: Plan, wanted: str | None, source: str | None = None, given: Collection[str] = (), *, by_label: bool = False
) -> tuple[str, DrawPlan]:
    """The variable of images or vectors to sample, and the distribution that draws it from priors alone.

    Where no prior draws them, categories may be given, and by label one may be left to be drawn value by value; a
    distribution that needs none goes first.

    Raises:
        RunError: no distribution draws such a variable so, or not the one of that name.
    """
    observed = [variable.name for variable in plan.variables if variable.observed]
    pairs = [(name, draw) for known in ((), given) for name in observed for draw in generating_draws(plan, name, known)]
    if by_label:
        all_pairs = [(name, draw) for name in observed for draw in plan.draws]
        pairs += [(name, draw) for name, draw in all_pairs if label_needed(plan, draw, name, given)]
    known = any(wanted in (None, name) and source == draw.name for name, draw in pairs)
    if source is not None and not known and (advice := _needs_examples(plan, wanted, source)):
        raise RunError(advice)
    if not pairs:
        what = f"no distribution draws {'a vector' if record_kind(plan) == 'vector' else 'an image'}"
        advice = _needs_examples(plan, wanted, None)
        raise RunError("; ".join(filter(None, [f"nothing to sample: {what} by networks from priors alone", advice])))
    names = list(dict.fromkeys(name for name, _ in pairs))
    if wanted is not None and wanted not in names:
        advice = nearest(wanted, names) or _needs_examples(plan, wanted, None)
        expected = f"`{wanted}` cannot be sampled; expected {alternatives(names)}"
        raise RunError("; ".join(filter(None, [expected, advice])))
    pairs = [(name, draw) for name, draw in pairs if wanted in (None, name)]
    found = next((pair for pair in pairs if source in (None, pair[1].name)), None)
    if found is None:
        there = list(dict.fromkeys(draw.name for _, draw in pairs))
        what = f"`{wanted}`" if wanted else "an image or a vector"
        hint = nearest(str(source), there)
        raise RunError(
            f"`{source}` does not draw {what} by networks from priors alone; expected {alternatives(there)}"
            f"{f'; {hint}' if hint else ''}"
        )
    return found


def _needs_examples(plan: Plan, wanted: str | None, source: str | None) -> str:
    """That what is asked for starts from data, where it does: of labels that they are given one by one."""
    starts = (start for start in starts_of(plan) if wanted in (None, start.variable) and source in (None, start.source))
    start = next(starts, None)
    if start is None:
        return ""
    read = " and ".join(f"`{name}`" for name in start.reads)
    if all(plan.variable(name).kind == "categorical" for name in start.reads):
        options = " ".join(f"--set {name}=K" for name in start.reads)
        return f"`{start.source}` starts from labels ({read}): give a category, `{options}`"
    return f"`{start.source}` starts from data ({read}): give them, `--examples FILE`"


def checked_categories(plan: Plan, draw: DrawPlan, name: str, given: Mapping[str, int]) -> dict[str, int]:
    """Categories that a sample of a variable depends on, each one that there is.

    Raises:
        RunError: which is none.
    """
    variables = [plan.variable(factor.variables[0]) for factor in ancestry(draw, name)]
    check_categories({v.name: v.shape[0] for v in variables if v.kind == "categorical"}, name, given)
    return dict(given)


def _has_its_scales(plan: Plan, name: str) -> bool:
    """Whether a run keeps how the vector was scaled: it is the main example of its data set."""
    part = on_data_set(plan, data_set_of(plan, name))
    return field_name(part, name) == main_example(part)


def _rows(plan: Plan, category: str, component: int | None) -> list[int]:
    """The components to sample, a row each; one row of no component where the model has none."""
    if not category:
        if component is not None:
            raise RunError("this model has no components: no categorical variable is drawn from a prior")
        return [0]
    size = plan.variable(category).shape[0]
    if component is not None and not 0 <= component < size:
        raise RunError(f"there is no component {component}: `{category}` has {size}, from 0 to {size - 1}")
    return list(range(size)) if component is None else [component]


def _paths(
    model: Model,
    plan: Plan,
    draw: DrawPlan,
    name: str,
    fixed: dict[str, Tensor],
    count: int,
    steps: int,
    seed: int,
) -> dict[str, Tensor]:
    """Images between two draws of the same categories: real latents on a straight line, the others as at its start."""
    doubled = {key: torch.cat([values, values]) for key, values in fixed.items()}
    ends = generate(model, plan, draw, name, doubled, 2 * count, seed)
    given = {}
    places = torch.linspace(0, 1, steps, device=ends[name].device).repeat(count)
    for parent in draw.factor_of(name).given:
        first, last = (end.repeat_interleave(steps, dim=0) for end in ends[parent].split(count))
        moves = plan.variable(parent).kind == "real"
        given[parent] = torch.lerp(first, last, places[:, None, None, None]) if moves else first
    parts = []
    for start in range(0, count * steps, BATCH):
        part = {key: values[start : start + BATCH] for key, values in given.items()}
        size = min(BATCH, count * steps - start)
        parts.append(
            sample_draw(model, draw, {}, {}, Mode.EVAL, given=part, batch=size, only=frozenset({name})).samples
        )
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _check_memory(plan: Plan, name: str, variables: Collection[str], count: int) -> None:
    """The machine has the memory for so many samples: each of every variable, as it is drawn and once more joined."""
    each = 2 * 4 * sum(math.prod(plan.variable(variable).shape) for variable in variables)
    needed, there = count * each, machine_memory()
    if needed > there:
        kind = "image" if plan.variable(name).kind == "image" else "vector"
        raise RunError(
            f"{counted(count, kind)} need about {bytes_text(needed)} of memory, and the machine has "
            f"{bytes_text(there)}; at most {there // each:,} can be asked for at once"
        )


def _plain(plan: Plan, name: str, values: Tensor) -> Array:
    flat = values.flatten(1).cpu()
    return (flat.argmax(1) if plan.variable(name).kind == "categorical" else flat).numpy()
