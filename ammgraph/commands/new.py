"""`ammgraph new`: write a spec from two factorizations."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import kinds
from ammgraph.commands.arguments import option, positional, switch
from ammgraph.commands.compiled import summary
from ammgraph.diagnostics import RunError, render
from ammgraph.spec.data_sets import DATA_SETS, OWN_DATA, TABLES
from ammgraph.terminal import command

EXAMPLE = 'ammgraph new mine.yaml --q "q(x) q(z|x) q(y|x,z)" --p "p(y) p(z|y) p(x|y,z)" --image 1x28x28'


@dataclass(frozen=True)
class Options:
    """What is typed; `typed` are the words themselves."""

    path: Path = positional("the new spec, as in mine.yaml; never overwritten", "FILE", type=kinds.path)
    q: str = option("the inference side, as a product of factors", required=True, metavar="FACTORS")
    p: str = option("the synthesis side", required=True, metavar="FACTORS")
    image: tuple[tuple[str, tuple[int, int, int]], ...] = option(
        "size of the images: variables whose names begin with x; NAME:CxHxW for another (default: as the data's)",
        action="append",
        type=kinds.image,
        metavar="CxHxW",
    )
    vector: tuple[tuple[str, int], ...] = option(
        "the data are vectors of so many numbers, for x as --image; NAME:D for another (default: as the data's)",
        action="append",
        type=kinds.vector,
        metavar="D",
    )
    categorical: tuple[tuple[str, int], ...] = option(
        "a categorical variable; names that begin with y or c are, with K = 10; may be repeated",
        action="append",
        type=kinds.sized,
        metavar="NAME:K",
    )
    real: tuple[tuple[str, int], ...] = option(
        "a real vector (default: N = 64)", action="append", type=kinds.sized, metavar="NAME:N"
    )
    deterministic: tuple[str, ...] = option(
        "a real variable that networks draw without noise, as BiGAN's z", action="append", metavar="NAME"
    )
    data: str = option(
        "the data set (default: the one whose images have this size, else npz)",
        default="",
        choices=(*DATA_SETS, *OWN_DATA),
        metavar="NAME",
    )
    term: tuple[str, ...] = option(
        'what is minimised in place of a game, as in "-E[q] log p(x|z)"; may be repeated',
        action="append",
        metavar="TERM",
    )
    game: bool = switch("a game of both sides beside the terms")
    typed: tuple[str, ...] = ()


def run(options: Options) -> int:
    """0 where it is written."""
    if options.data in TABLES and not options.vector:
        raise RunError(
            f"`--data {options.data}` is a table of yours: say how many numbers a record has, by `--vector N`"
        )
    from ammgraph.start.copies import write_new, write_schema
    from ammgraph.start.sketch import new_spec
    from ammgraph.start.typed import Typed

    typed = Typed(
        q=" ".join(options.q.split()),
        p=" ".join(options.p.split()),
        image=options.image,
        vector=options.vector,
        categorical=options.categorical,
        real=options.real,
        deterministic=options.deterministic,
        data=options.data,
        term=tuple(" ".join(term.split()) for term in options.term),
        game=options.game or not options.term,
    )
    path = options.path
    text, plan = new_spec(typed, str(path), command(*options.typed))
    write_new(path, text.encode())
    write_schema(path.parent)
    for warning in plan.warnings:
        print(render(warning, {str(path): text}), file=sys.stderr)
    print(f"{path}: {summary(plan)}; data: {plan.data.dataset}")
    print("\nNext:")
    print(f"  {command('show', path)}")
    print(f"  {command('show', path, '--format', 'svg')} > {shlex.quote(str(path.with_suffix('.svg')))}")
    print(f"  {command('train', path, '--dry-run')}")
    print(f"  {command('train', path)}")
    return 0
