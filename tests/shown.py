"""Models of every kind that a report shows, tiny and hardly trained, and their run directories."""

from functools import cache
from pathlib import Path

import torch
from tiny import CPU, LABELED, TINY

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.data.records import Split
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.nn.model import Model, build
from ammgraph.plan.plan import Plan
from ammgraph.runs import run
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_spec
from ammgraph.train.trainer import Trainer, fit

ALI = """
variables: {y: null}
networks:
  components: null
  encoder: {layers: {y: null}}
  decoder: {layers: {h: {input: z}}}
  critic: {layers: {h: {input: hx | z}}}
distributions:
  q:
    q(x): data
    q(z|x): encoder.z
  p:
    p(z): normal
    p(x|z): decoder.x
"""
INDEPENDENT = """
networks: {components: null}
distributions:
  p:
    p(y): uniform
    p(z): normal
    p(x|y,z): decoder.x
"""
CONDITIONAL = """
data: {labeled: {count: 20, choice: balanced}}
networks: {components: null, encoder: {layers: {y: null}}}
distributions:
  q:
    q(x,y): data.labeled
    q(z|x): encoder.z
  p:
    p(y): empirical
    p(z): normal
    p(x|y,z): decoder.x
"""
KINDS = {"amm": "", "samm": "", "ali": ALI, "independent": INDEPENDENT, "conditional": CONDITIONAL}


def write_spec(folder: Path, kind: str, more: str = "") -> Path:
    path = folder / f"{kind}.yaml"
    parent = LABELED if kind == "samm" else TINY
    path.write_text(f"ammgraph: 1\nextends: {parent}\ntitle: tiny {kind}\n{KINDS[kind]}{more}", encoding="utf-8")
    return path


def run_of(folder: Path, spec: Path, *overrides: str) -> Path:
    """A finished run of a few steps, its records every third step."""
    loaded = load_spec(spec, overrides, allow_outside=True)
    plan = compile_spec(loaded)
    options = run.RunOptions(spec.stem, 0, "float32", None, 3, 60.0, f"ammgraph train {spec.name} --set a.b='<c>'")
    target = folder / spec.stem
    target.mkdir()
    run.create(target, options, dict(loaded.written), plan_text(plan), CPU)
    dataset = load_data(plan.data, None)
    trainer = Trainer(plan, dataset, 0, CPU)
    assert dataset.validation is not None
    validation = dataset.validation
    fit(trainer, target, lambda model: evaluate(model, plan, validation), log_every=3)
    return target


@cache
def images() -> tuple[Split, tuple[str, ...]]:
    """60 of the digits, with the names of their classes."""
    dataset = load_data(compile_spec(load_spec(TINY, ())).data, None)
    return dataset.train.at(torch.arange(60)), dataset.classes


def untrained(path: Path, *overrides: str) -> tuple[Model, Plan]:
    plan = compile_spec(load_spec(path, overrides, allow_outside=True))
    return build(plan, torch.Generator().manual_seed(0), torch.ones(10) / 10), plan
