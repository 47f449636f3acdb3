"""What a step takes from outside: batches of data and random tensors, each from a stream of its own, all resumable.

Streams never share a generator: adding a metric, another evaluation or another order of data moves no other stream.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.advice import as_vectors, other_layout
from ammgraph.data.dataset import Dataset, class_frequencies
from ammgraph.data.on_disk import OnDisk
from ammgraph.data.records import Split
from ammgraph.data.sampler import Sampler, restore
from ammgraph.diagnostics import RunError, counted
from ammgraph.nn.model import Model, build, draw_noise, record_tensors
from ammgraph.plan.draws import DrawPlan, FromData
from ammgraph.plan.finite import infinite_terms
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import EXAMPLES, counted_labels, examples_of, fields_of, names_of, on_data_set
from ammgraph.plan.turns import TurnPlan
from ammgraph.spec.data_sets import GIVEN
from ammgraph.spec.sources import DataSource
from ammgraph.train.ranks import ALONE, Ranks

# The position of a purpose is part of the seed: append, never reorder.
PURPOSES = ("initialization", "data", "prior", "sample", "dropout", "penalty", "evaluation", "perturbation", "fit")


def stream_seed(seed: int, purpose: str, index: int = 0) -> int:
    """The seed of one stream of a run: independent of every other purpose and index."""
    words = np.random.SeedSequence([seed, PURPOSES.index(purpose), index]).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])


Positions: TypeAlias = dict[str, Tensor]  # of records, by the sampler that draws them


class Feed:
    """Batches for every factor that comes from data: draw -> variable -> tensor, on the device."""

    def __init__(
        self,
        plan: Plan,
        dataset: Dataset,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        ranks: Ranks = ALONE,
    ) -> None:
        self._plan, self._dtype, self._ranks = plan, dtype, ranks
        self._train = {name: found.train.to(device) for name, found in dataset.by_name.items()}
        self._samplers: dict[str, Sampler] = {}
        self._origins = [
            (draw, factor.origin)
            for draw in plan.draws
            for factor in draw.factors
            if isinstance(factor.origin, FromData) and factor.needed
        ]
        self._positions: dict[DataSource, Tensor] = {}
        for name, found in dataset.by_name.items():
            self._positions[DataSource("all", name)] = torch.arange(len(found.train))
            self._positions[DataSource("labeled", name)] = found.labeled
            self._positions[DataSource("unlabeled", name)] = found.unlabeled
        for index, (draw, origin) in enumerate(self._origins):
            positions, found = self._positions[origin.source], dataset.by_name[origin.source.of]
            if not len(positions):
                raise RunError(f"`{draw.name}` draws from {origin.source}, which is empty: {found.description}")
            _check_labels(draw, origin, found.train, positions)
            if origin.source == plan.epoch_source and len(positions) < draw.batch_size:
                advice = f"lower it with `--set training.batch_size={len(positions)}`"
                single = any(row.batchnorm for network in plan.networks for row in network.rows)
                advice = "batch norm needs two or more" if single and len(positions) == 1 else advice
                raise RunError(
                    f"a batch of {draw.batch_size} is larger than {origin.source}, "
                    f"which has {counted(len(positions), 'example')}; {advice}"
                )
            stream = stream_seed(seed, "data", index)
            # What is read from a file is read by the host, which would wait for positions on a device.
            place = "cpu" if self.reads_files else device
            self._samplers[f"{draw.name}/{index}"] = Sampler(positions, draw.batch_size, stream, place)
        check_shapes(plan, dataset)
        _check_frequencies(plan, dataset)

    @property
    def reads_files(self) -> bool:
        """Whether a batch is read where it is taken, by the host."""
        fields = (values for train in self._train.values() for values in (train.images, *train.others.values()))
        return any(isinstance(values, OnDisk) for values in fields)

    def steps_per_epoch(self, turns: Sequence[TurnPlan]) -> int:
        """Steps in one pass of the data that an epoch is counted by: its batches, over those that one step takes.

        Of several factors that draw from these data it is the first one that the turns take, if they take any.
        """
        found: list[tuple[int, int]] = []  # batches of a pass, and those that a step takes
        for sampler, (draw, origin) in zip(self._samplers.values(), self._origins, strict=True):
            if origin.source == self._plan.epoch_source:
                taking = (turn for turn in turns if turn.redraw and _takes(turn, draw, origin))
                found.append((sampler.batches_per_pass, sum(turn.steps for turn in taking)))
        batches, taken = next((one for one in found if one[1]), found[0] if found else (1, 1))
        return max(1, batches // max(1, taken))

    def batches(self, turn: TurnPlan) -> dict[str, dict[str, Tensor]]:
        """The next batch of every draw of a turn, this process's part of it."""
        return self.records(self.positions(turn))

    def positions(self, turn: TurnPlan) -> Positions:
        """Which records the next batch of every draw of a turn is made of, this process's part of it."""
        return {
            name: self._ranks.part(next(sampler), [draw.batch_size])
            for (name, sampler), (draw, origin) in zip(self._samplers.items(), self._origins, strict=True)
            if _takes(turn, draw, origin)
        }

    def records(self, positions: Positions) -> dict[str, dict[str, Tensor]]:
        """Draw -> variable -> tensor, of the records at these positions."""
        found: dict[str, dict[str, Tensor]] = {}
        for name, (draw, origin) in zip(self._samplers, self._origins, strict=True):
            if name in positions:
                found.setdefault(draw.name, {}).update(self._taken(origin, positions[name]))
        return found

    def in_order(self, origin: FromData, size: int) -> Iterator[dict[str, Tensor]]:
        """All that a factor takes from the data, each example once, in batches of `size`; no sampler moves."""
        for indices in self._positions[origin.source].split(size):
            yield self._taken(origin, indices.to(self._train[origin.source.of].labels.device))

    def _taken(self, origin: FromData, positions: Tensor) -> dict[str, Tensor]:
        """What a factor takes of the records at these positions, by variable."""
        train = self._train[origin.source.of]
        return record_tensors(self._plan, dict(origin.fields), train, self._dtype, positions, origin.names)

    def state_dict(self) -> dict[str, Any]:
        """Where every sampler stands."""
        return {name: sampler.state_dict() for name, sampler in self._samplers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the feed that gave `state` stood."""
        for name, sampler in self._samplers.items():
            sampler.load_state_dict(state[name])


def _check_labels(draw: DrawPlan, origin: FromData, train: Split, positions: Tensor) -> None:
    """What takes labels takes records that have one."""
    for variable in (name for name, kind in origin.fields if kind == "label"):
        labels = train.of("label", origin.names.get(variable, ""))[positions]
        if missing := int((labels < 0).sum()):
            labeled = DataSource("labeled", origin.source.of)
            raise RunError(
                f"`{draw.name}` draws `{variable}` from {origin.source}, and {missing:,} of its "
                f"{counted(len(labels), 'example')} have no label; draw from `{labeled}`, with "
                f"`{labeled}.count: all` for all that have one"
            )


def _takes(turn: TurnPlan, draw: DrawPlan, origin: FromData) -> bool:
    """Whether a turn needs what a factor takes from the data."""
    found = turn.drawn(draw).factors if draw.name in turn.draws else ()
    return any(factor.origin == origin and factor.needed for factor in found)


class Noise:
    """The random tensors of every turn, drawn from one generator for each purpose.

    Of several processes each draws all and takes its part, so that an example's noise depends on no number of
    processes.
    """

    def __init__(self, plan: Plan, seed: int, device: torch.device, dtype: torch.dtype, ranks: Ranks = ALONE) -> None:
        self._plan, self._device, self._dtype, self._ranks = plan, device, dtype, ranks
        # Every run has the first four; a later one only if its plan draws from it.
        later = {site.stream for turn in plan.turns for site in turn.sites if site.stream == "perturbation"}
        self.generators = {
            stream: torch.Generator(device).manual_seed(stream_seed(seed, stream))
            for stream in ("prior", "sample", "dropout", "penalty", *later)
        }

    def of(self, turn: TurnPlan, step: int = 0, known: Collection[str] = ()) -> dict[str, Tensor]:
        """New random tensors, by name, for every site of a turn that is due at `step` and not `known` already."""
        joined = {
            f"{found.evaluation.name}/{row}": examples_of(self._plan, found, row)
            for found in turn.passes_of("scored")
            for row in found.rows
        }
        whole = {found.evaluation.name for found in turn.passes_of("asked") if not any(found.draws)}
        found = {}
        for site in turn.sites:
            if step % site.every or site.name in known:
                continue
            drawn = draw_noise(site, self.generators[site.stream], self._device, self._dtype)
            place = site.name.rpartition(".")[0]
            if place.rpartition("/")[0] not in whole:  # what is at no draw's samples is every process's own
                drawn = self._ranks.part(drawn, joined.get(place, [site.batch]))
            found[site.name] = drawn
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Where every generator stands."""
        return {stream: generator.get_state() for stream, generator in self.generators.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where the noise that gave `state` stood.

        Raises:
            RunError: a generator's state is of another kind of device, or of no generator.
        """
        for stream, generator in self.generators.items():
            restore(generator, state[stream])


def initial_model(plan: Plan, seed: int, dataset: Dataset | None) -> Model:
    """The model at step 0 of a run with that seed; the data set is read where priors count labels.

    Raises:
        RunError: there are more classes than the variable has categories, or no labelled examples.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, "initialization"))
    frequencies = {} if dataset is None else _frequencies(plan, dataset)
    return build(plan, generator, frequencies)


def _frequencies(plan: Plan, dataset: Dataset) -> dict[str, Tensor]:
    """The class frequencies of every variable whose prior counts them: those of its own label."""
    of = next((name for name, each in dataset.by_name.items() if len(each.labeled)), plan.data_names[0])
    labels = counted_labels(on_data_set(plan, of))
    found = {name: class_frequencies(dataset, label) for name, label in labels.items()}
    for name, counts in found.items():
        if len(counts) > (size := plan.variable(name).shape[0]):
            raise RunError(
                f"`{name}` has {counted(size, 'category')}, and `p({name}): empirical` counts the labels of "
                f"{counted(len(counts), 'class')}; it needs at least as many"
            )
    return found


def _check_frequencies(plan: Plan, dataset: Dataset) -> None:
    frequencies = {name: counts.tolist() for name, counts in _frequencies(plan, dataset).items()}
    for term, variable in infinite_terms(plan, frequencies):
        raise RunError(
            f"term `{term}` is infinite: the prior `empirical` of `{variable}` gives probability 0 to a category, of "
            "which there is no labelled example; write `uniform`, or probabilities above 0, in its place"
        )


def _check_field(plan: Plan, dataset: Dataset, variable: str, kind: str, name: str) -> None:
    shape = plan.variable(variable).shape
    if kind == "label":
        if shape[0] < (classes := len(dataset.train.other_classes[name])):
            raise RunError(
                f"`{variable}` has {counted(shape[0], 'category')}, but `{name}` of {dataset.name} has "
                f"{counted(classes, 'class')}; a labelled variable needs at least as many"
            )
        return
    found = tuple(dataset.train.others[name].shape[1:])
    if found != shape:
        raise RunError(
            f"`{variable}` has shape {list(shape)}, but `{name}` of {dataset.name} has {list(found)}; change the "
            "variable, or what is stored"
        )


def check_shapes(plan: Plan, dataset: Dataset) -> None:
    """The examples and classes of every data set fit the variables that are bound to them.

    Raises:
        RunError: which variable does not.
    """
    for name, found in dataset.by_name.items():
        _check_shapes(on_data_set(plan, name), found)


def _check_shapes(plan: Plan, dataset: Dataset) -> None:
    for draw in plan.draws:
        names = names_of(draw.factors)
        for name, field in fields_of(draw.factors).items():
            shape, kind = plan.variable(name).shape, dataset.train.kind
            if names.get(name, "") in dataset.train.others:
                _check_field(plan, dataset, name, field, names[name])
                continue
            if field in EXAMPLES and field != kind:
                vector = f"type: real, size: {dataset.image_shape[0]}"
                fitting = vector if kind == "vector" else f"type: image, shape: {list(dataset.image_shape)}"
                is_array = kind == "image" and dataset.name in ("npz", "npy", GIVEN)
                stored = f"; or if they are vectors, store `{as_vectors('x_train')}`" if is_array else ""
                raise RunError(
                    f"`{name}` takes the {field} of a record, but {dataset.name} has {kind}s: {dataset.description}; "
                    f"declare `{name}: {{{fitting}}}` and the networks that read or draw it{stored}"
                )
            if field == "vector" and shape != dataset.image_shape:
                size = dataset.image_shape[0]
                raise RunError(
                    f"`{name}` has size {shape[0]}, but the vectors of {dataset.name} have {size}; write "
                    f"`size: {size}` and the networks that read or draw it, or change what is stored"
                )
            if field == "image" and shape != dataset.image_shape:
                stored = other_layout("x_train", dataset.image_shape, shape) if dataset.name in ("npz", "npy") else ""
                raise RunError(
                    f"`{name}` has shape {list(shape)}, but the images of {dataset.name} have "
                    f"{list(dataset.image_shape)}; "
                    + (stored or "change the variable's shape and the networks that read or draw it")
                )
            if field == "label" and not dataset.labelled:
                raise RunError(f"`{name}` takes the label of a record, but there are none: {dataset.description}")
            if field == "label" and shape[0] < len(dataset.classes):
                raise RunError(
                    f"`{name}` has {counted(shape[0], 'category')}, but {dataset.name} has "
                    f"{counted(len(dataset.classes), 'class')}; a labelled variable needs at least as many"
                )
