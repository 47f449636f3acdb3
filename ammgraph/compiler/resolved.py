"""What the names of a spec stand for, found once: the value that every rule reads, before a step is decided."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ammgraph.compiler.rows import Inferred, Table, infer_rows, order_rows
from ammgraph.diagnostics import Diagnostic
from ammgraph.layers.operations import Shape
from ammgraph.plan.draws import EvaluationPlan
from ammgraph.plan.networks import NetworkPlan, VariablePlan
from ammgraph.spec.notation import Factor, Reference, parse_factor
from ammgraph.spec.schema import ImageVariable, Spec
from ammgraph.spec.sources import BayesRule, DataSource, Enumeration, Source
from ammgraph.spec.terms import rows_of


@dataclass(frozen=True)
class Declared:
    """A factor as a distribution declares it; an alias shares its target's factors, places included."""

    draw: str
    factor: Factor
    source: Source
    path: tuple[str, ...]

    @property
    def reference(self) -> Reference | None:
        """The row, or another distribution's sample, that draws the factor or enumerates its variable, if one does."""
        source = self.source.row if isinstance(self.source, Enumeration) else self.source
        return source if isinstance(source, Reference) else None

    @property
    def enumerated(self) -> bool:
        """Whether its variable is not sampled, and has every value."""
        return isinstance(self.source, Enumeration | BayesRule)


@dataclass(frozen=True)
class Call:
    """A network called for one of its rows: by a factor, which the row draws, or by a game as its discriminator."""

    scope: str  # the distribution or the game
    reference: Reference
    variable: str  # the variable drawn; empty for a discriminator
    path: tuple[str | int, ...]
    table: Table
    bound: Mapping[str, str]  # local name -> variable: bound by the call, drawn here, or of the same name (R2, R3)

    @cached_property
    def given(self) -> frozenset[str]:
        """The rows that are variables here."""
        return frozenset(self.bound) & frozenset(self.table.rows)

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The rows that its own depends on, itself the last, in computing order, stopping at variables."""
        return self.table.needed(self.reference.name, self.given)

    @cached_property
    def names(self) -> frozenset[str]:
        """The variables' rows and the names from outside that its row depends on."""
        return self.table.reads(self.reference.name, self.given)

    @cached_property
    def reads(self) -> dict[str, str]:
        """Local name -> variable, of those that are bound."""
        order = [*self.table.free, *self.table.rows]
        return {name: self.bound[name] for name in order if name in self.names and name in self.bound}

    @cached_property
    def evaluation(self) -> EvaluationPlan:
        """The evaluation that calls of one scope share where they bind the same."""
        name = f"{self.scope}/{self.reference.call}"
        return EvaluationPlan(name, self.reference.owner, tuple(sorted(self.bound.items())))


@dataclass(frozen=True)
class Resolved:
    """A spec and what follows from its names; what is asked for is found once.

    Rules ask in the order of their stages: whoever reads `calls` knows that every reference names a row, whoever reads
    `networks` knows that every row has a shape.
    """

    spec: Spec

    @cached_property
    def variables(self) -> dict[str, VariablePlan]:
        """The declared variables with their shapes; vectors are (size, 1, 1)."""
        plans = {}
        for name, variable in self.spec.variables.items():
            if isinstance(variable, ImageVariable):
                plans[name] = VariablePlan(name, "image", variable.shape, variable.range)
            else:
                vector = variable.type == "real" and name in self.of_data
                plans[name] = VariablePlan(name, variable.type, (variable.size, 1, 1), vector=vector)
        return plans

    @cached_property
    def of_data(self) -> frozenset[str]:
        """The variables that some factor takes from the data."""
        factors = (factor for factors in self.declared.values() for factor in factors)
        taken = (factor.factor.variables for factor in factors if isinstance(factor.source, DataSource))
        return frozenset(name for names in taken for name in names)

    def data_set_of(self, variable: str) -> str:
        """The data set of the first factor that takes a variable from data; the first one where none does."""
        factors = [factor for factors in self.declared.values() for factor in factors]
        taken = (f.source.of for f in factors if isinstance(f.source, DataSource) and variable in f.factor.variables)
        return next(taken, next(iter(self.spec.data_sets)))

    @cached_property
    def declared(self) -> dict[str, tuple[Declared, ...]]:
        """Every distribution's factors in the order of the spec."""
        declared = {}
        for name, value in self.spec.distributions.items():
            target = value if isinstance(value, str) else name
            factors = self.spec.distributions[target]
            assert not isinstance(factors, str), "an alias of an alias is refused while loading"
            declared[name] = tuple(
                Declared(name, parse_factor(text), source, ("distributions", target, text))
                for text, source in factors.items()
            )
        return declared

    def enumerated(self, draw: str) -> str:
        """The variable that a distribution enumerates, or nothing."""
        found = (f.factor.variables[0] for f in self.declared.get(draw, ()) if f.enumerated)
        return next(found, "")

    @property
    def written(self) -> dict[str, tuple[Declared, ...]]:
        """Those of distributions that are not drawn again: what is wrong with another draw is wrong with its target."""
        return {
            name: found for name, found in self.declared.items() if not isinstance(self.spec.distributions[name], str)
        }

    @cached_property
    def ordered(self) -> dict[str, Table | Diagnostic]:
        """Every network's table in computing order, or why there is none."""
        return {name: order_rows(self.spec, name) for name in self.spec.networks}

    @cached_property
    def tables(self) -> dict[str, Table]:
        """Those that have an order."""
        return {name: table for name, table in self.ordered.items() if isinstance(table, Table)}

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Every place that names a row of a network: factors, then games."""
        factors = [
            (factor.draw, factor.reference, factor.factor.variables[0], factor.path)
            for factors in self.declared.values()
            for factor in factors
            if factor.reference is not None and factor.reference.owner in self.tables
        ]
        drawn: dict[tuple[str, str], dict[str, str]] = {}  # rows -> variables of factors that share one evaluation
        for scope, reference, variable, _ in factors:
            drawn.setdefault((scope, reference.call), {})[reference.name] = variable
        games = [
            (name, game.discriminator, "", ("games", name, "discriminator")) for name, game in self.spec.games.items()
        ]
        found = []
        for scope, reference, variable, path in [*factors, *games]:
            table = self.tables[reference.owner]
            same = {name: name for name in [*table.rows, *table.free] if name in self.variables}
            bound = same | dict(reference.bindings) | drawn.get((scope, reference.call), {})
            found.append(Call(scope, reference, variable, path, table, bound))
        return tuple(found)

    def call(self, scope: str, reference: Reference) -> Call:
        """A factor's, or a game's discriminator's."""
        return self._call_of[scope, reference]

    def calls_of(self, network: str) -> list[Call]:
        """The calls of one network."""
        return [call for call in self.calls if call.reference.owner == network]

    @cached_property
    def outside(self) -> dict[str, dict[str, str]]:
        """What each name that a network reads from outside stands for: in its first call, or by its name."""
        found: dict[str, dict[str, str]] = {}
        for name, table in self.tables.items():
            own = found.setdefault(name, {})
            for bound in [*(call.bound for call in self.calls_of(name)), {local: local for local in table.free}]:
                for local in table.free:
                    if bound.get(local) in self.variables:
                        own.setdefault(local, bound[local])
        return found

    def elsewhere(self, network: str, local: str) -> str:
        """The variable that a name of a network stands for unless a call says otherwise; a row's own name."""
        return self.outside[network].get(local, local)

    @cached_property
    def inputs(self) -> dict[str, dict[str, Shape]]:
        """The shapes of the names that each network reads from outside: those of the variables they stand for."""
        return {
            name: {local: self.variables[variable].shape for local, variable in own.items()}
            for name, own in self.outside.items()
        }

    @cached_property
    def inferred(self) -> dict[str, Inferred]:
        """Every network's rows with their shapes."""
        named = [row for term in self.spec.terms.values() for row in rows_of(term.minimize)]
        read = [(row.owner, row.name) for row in [*(call.reference for call in self.calls), *named]]
        return {
            name: infer_rows(
                self.spec, table, self.inputs[name], frozenset(row for owner, row in read if owner == name)
            )
            for name, table in self.tables.items()
        }

    @cached_property
    def networks(self) -> dict[str, NetworkPlan]:
        """Every network with what trains it."""
        training, written = self.spec.training, self.spec.networks
        return {
            name: NetworkPlan(
                name=name,
                inputs=tuple(self.inputs[name].items()),
                rows=tuple(row if written[name].trainable else row.undisturbed for row in self.inferred[name].rows),
                optimizer=training.optimizers.get(name) or training.optimizers["default"],
                ema=training.ema.get(name, training.ema.get("default")),
                start=written[name].start,
                trainable=written[name].trainable,
            )
            for name in self.spec.networks
        }

    def batch_size(self, draw: str) -> int:
        """The number of examples of one draw of a distribution."""
        sizes = self.spec.training.batch_size
        return sizes if isinstance(sizes, int) else sizes.get(draw, sizes.get("default", 0))

    @cached_property
    def _call_of(self) -> dict[tuple[str, Reference], Call]:
        return {(call.scope, call.reference): call for call in self.calls}
