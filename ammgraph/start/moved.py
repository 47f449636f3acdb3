"""A second look at each example, moved: what `ammgraph new` adds to a game so that its categories become classes.

Games leave open in which partition q(y|x) settles. `r` moves the example and draws what q infers y from once more; a
term then asks for the same y of both, certain for each example and used alike over all.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from ammgraph.spec.notation import Factor
from ammgraph.start.tables import Rows, Size
from ammgraph.start.typed import Sides

STRENGTH = 0.15  # standard deviations: 7.5 % of the width, 9 degrees, 15 % of shear and zoom
# Of vectors, measured on six tables together: even use counts less than certainty, both together more than the game.
EVENNESS, WEIGHT = 0.6, 12
SPREAD = 1  # standard deviation of what is added to each number of a vector, which is scaled to 1


@dataclass(frozen=True)
class Again:
    """What is drawn a second time, and for which categories."""

    head: str  # the distribution
    twins: Mapping[str, str]  # variable -> its second draw, conditions first
    q: Mapping[str, Factor]  # variable -> the factor of q that draws it
    targets: Sequence[str]  # categories that shall stay
    sizes: Mapping[str, Size]

    @property
    def mover(self) -> Rows:
        """A network without weights, a row an example."""
        moves = {"image": f"activation: random_affine {STRENGTH}", "vector": f"noise: {SPREAD}"}
        examples = [name for name in self.twins if not self.q[name].given]
        return [(self.twins[name], f"input: {name}, {moves[self.sizes[name].kind]}") for name in examples]

    @property
    def what(self) -> str:
        """What is looked at."""
        return "vector" if any(self.sizes[name].kind == "vector" for name in self.twins) else "image"

    @property
    def how(self) -> str:
        """What becomes of it."""
        return "with noise" if self.what == "vector" else "moved, turned, sheared and zoomed a little"

    def factors(self, networks: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
        """The factors of the second look and what draws each: q's samples as they are, then the twins."""
        redrawn = [name for name in self.twins if self.q[name].given]
        read = [name for name in self.twins if not self.q[name].given]
        read += [name for drawn in self.targets for name in self.q[drawn].given]
        read += [name for drawn in redrawn for name in self.q[drawn].given if name not in self.twins]
        for name in dict.fromkeys(read):
            yield f"{self.head}({name})", f"q.{name}"
        for name, twin in self.twins.items():
            if name not in redrawn:
                yield f"{self.head}({twin}|{name})", f"mover.{twin}"
                continue
            given = self.q[name].given
            conditions = ",".join(self.twins.get(condition, condition) for condition in given)
            bound = ", ".join(f"{condition}={self.twins[condition]}" for condition in given if condition in self.twins)
            yield f"{self.head}({twin}|{conditions})", f"{networks['q', str(self.q[name])]}({bound}).{name}"

    @property
    def terms(self) -> dict[str, str]:
        """Name -> the cross entropy of the second y under the first, less the entropy of all of them together."""
        found = {}
        for name in self.targets:
            factor = self.q[name]
            bound = ",".join(
                f"{condition}={self.twins[condition]}" if condition in self.twins else condition
                for condition in factor.given
            )
            again, mean = f"q({name}|{bound})", f"E[{self.head}]"
            alike = f"{EVENNESS} * " if self.what == "vector" else ""
            found["again" if len(self.targets) == 1 else f"again_{name}"] = (
                f"{mean} KL({factor} || {again}) + {mean} H({factor}) - {alike}H({mean} {factor})"
            )
        return found

    @property
    def weight(self) -> str:
        """The columns that say how much the terms count beside the game."""
        return f", weight: {WEIGHT}" if self.what == "vector" else ""


def moved_again(sides: Sides, sizes: Mapping[str, Size], drawn: Collection[str]) -> Again | None:
    """The second look of a model, or None where q infers from an example no category that has a prior.

    Args:
        sides: the factors of q and p.
        sizes: of every variable; no other may have a twin's name.
        drawn: the factors of q, as texts, that networks draw.
    """
    factors = {name: placed.factor for placed in sides["q"] for name in placed.factor.variables}
    priors = {placed.factor.variables for placed in sides["p"] if not placed.factor.given}
    try:
        order = list(TopologicalSorter({name: factor.given for name, factor in factors.items()}).static_order())
    except CycleError:  # the compiler says so
        return None
    moving: set[str] = set()
    for name in order:
        if name not in factors:
            return None  # so is this
        factor = factors[name]
        example = sizes[name].observed and len(factor.variables) == 1
        if moving.intersection(factor.given) if str(factor) in drawn else example:
            moving.add(name)
    targets = [
        name
        for name, size in sizes.items()
        if size.kind == "categorical" and (name,) in priors and name in moving and factors[name].given
    ]
    needed = {condition for name in targets for condition in factors[name].given}
    for name in reversed(order):
        needed.update(factors[name].given if name in needed else ())
    twins = {name: _free(f"{name}_again", sizes) for name in order if name in needed and name in moving}
    return Again(_free("r", sizes), twins, factors, targets, sizes) if targets else None


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name
