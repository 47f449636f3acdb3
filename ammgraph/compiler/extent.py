"""How much there is to decide about a spec, counted before it is decided: a bound on the compiler's own work."""

from collections.abc import Iterator, Mapping

from ammgraph.compiler.resolved import Resolved
from ammgraph.diagnostics import Diagnostic
from ammgraph.spec.notation import Reference
from ammgraph.spec.schema import Source, Spec
from ammgraph.spec.source import Path

MOST_PARTS = 500  # factors and games; the largest spec that ships has 20
MOST_ROWS = 50_000  # computed in one step; of the largest that ships about 500


def check_extent(resolved: Resolved) -> Iterator[Diagnostic]:
    """No more factors, games and rows than a step can be planned of."""
    spec = resolved.spec
    drawn = [_factors(spec, name) for name in spec.distributions]
    factors = sum(map(len, drawn))
    if factors + len(spec.games) > MOST_PARTS:
        again = any(isinstance(value, str) for value in spec.distributions.values())
        yield Diagnostic(
            "too-large",
            f"{factors + len(spec.games):,} factors and games are too many",
            spec.source.key("distributions" if factors >= len(spec.games) else "games"),
            found="each factor as often as a distribution is drawn" if again else "",
            expected=f"at most {MOST_PARTS:,}",
        )
        return
    rows = _rows_of_a_step(spec, [source for factors in drawn for source in factors.values()])
    if rows > MOST_ROWS:
        yield Diagnostic(
            "too-large",
            f"a step would compute {rows:,} rows of networks",
            spec.source.key(*_longest_schedule(spec)),
            found="the rows of a network for each factor, game and penalty of each turn",
            expected=f"at most {MOST_ROWS:,}",
        )


def _factors(spec: Spec, distribution: str) -> Mapping[str, Source]:
    value = spec.distributions[distribution]
    factors = spec.distributions[value] if isinstance(value, str) else value
    assert not isinstance(factors, str), "an alias of an alias is refused while loading"
    return factors


def _rows_of_a_step(spec: Spec, sources: list[Source]) -> int:
    """Turns x (rows of each factor's network + rows of each game's discriminator, once more for each penalty)."""
    sizes = {name: len(network.layers) for name, network in spec.networks.items()}
    drawn = sum(sizes.get(source.owner, 1) for source in sources if isinstance(source, Reference))
    played = 0
    for game in spec.games.values():
        played += sizes.get(game.discriminator.owner, 1) * (1 + len(game.penalties))
    return sum(len(phase.schedule or (None,)) for _, phase in spec.training.stages) * (drawn + played)


def _longest_schedule(spec: Spec) -> Path:
    """Where the most turns are written; where none are, the networks."""
    written = [((*path, "schedule"), phase.schedule) for path, phase in spec.training.stages if phase.schedule]
    return max(written, key=lambda found: len(found[1]))[0] if written else ("networks",)
