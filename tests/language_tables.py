"""The tables of the language reference, written from the JSON Schema."""

import json
from typing import Any

from ammgraph.formulas.expression import Logit
from ammgraph.formulas.functions import FUNCTIONALS, functional_text
from ammgraph.formulas.notation import PRODUCT
from ammgraph.formulas.objectives import OBJECTIVES, loss
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.show.text import formula_text
from ammgraph.spec.measures import MEASURES
from ammgraph.spec.notation import number_text
from ammgraph.spec.priors import PRIORS, Mixture, Probabilities
from ammgraph.spec.sources import SOURCE_MEANINGS
from ammgraph.start.json_schema import json_schema

# Where each section stands in a spec, in the order of the reference.
SECTIONS: dict[str, str] = {
    "Spec": "the spec",
    "Data": "`data`",
    "Labeled": "`data.labeled`",
    "ImageVariable": "`variables.NAME`, an image",
    "CategoricalVariable": "`variables.NAME`, categorical",
    "RealVariable": "`variables.NAME`, real",
    "Network": "`networks.NAME`",
    "TableDefaults": "`networks.NAME.defaults`",
    "Row": "`networks.NAME.layers.NAME`, a row",
    "RowInitializer": "`networks.NAME.layers.NAME.initializer`",
    "SourceMapping": "a factor's value, if a mapping",
    "Mixture": "`mixture`",
    "RandomMeans": "`mixture.means`",
    "Game": "`games.NAME`",
    "LambdaPenalty": "`games.NAME.gradient_penalty`",
    "GammaPenalty": "`games.NAME.roth_penalty`, `games.NAME.r1_penalty`",
    "Term": "`terms.NAME`",
    "Training": "`training`",
    "Adam": "`training.optimizers.NAME`, Adam",
    "AdamW": "`training.optimizers.NAME`, AdamW",
    "Sgd": "`training.optimizers.NAME`, SGD",
    "RmsProp": "`training.optimizers.NAME`, RMSprop",
    "NamedSchedule": "numbers that change, by name",
    "Initializer": "`training.initializer`",
    "Weights": "`weights` of an initializer",
    "BatchNorm": "`training.batchnorm`",
    "Turn": "`training.schedule`, an entry",
    "Phase": "`training.phases`, an entry",
    "Evaluation": "`evaluation`",
    "Published": "`published`, an entry",
    "Measured": "`measured`, an entry",
}
# What the functions of terms are shown with.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "log": ("p(x|z)",),
    "H": ("q(y|x)",),
    "KL": ("q(z|x)", "p(z)"),
    "l1": ("a", "b"),
    "l2": ("a", "b"),
    "sum": ("a",),
    "exp": ("a",),
    "softplus": ("a",),
    "vat": ("c(y|x)", "x, 4, 10"),
    "pull_away": ("f",),
    "affinity": ("f", "n"),
    "balance": ("f", "n"),
}
# Every other definition is a part of these: a text or a choice.
PARTS = {"Arithmetic", "Distribution", "Extending"}
DEFINITIONS = json_schema()["definitions"]


def keys_table() -> str:
    """A table of keys for every section."""
    return "\n".join(_section(name, title) for name, title in SECTIONS.items())


def activations_table() -> str:
    """The activations with their formulas: of an element, then of a vector or random."""
    ordered = sorted(ACTIVATIONS.items(), key=lambda item: item[1].of != "element" or item[1].noise is not None)
    rows = [
        f"| `{name}{'' if kind.parameter is None else f' {kind.parameter.symbol}'}` | {kind.meaning} |"
        for name, kind in ordered
    ]
    return "\n".join(["| activation | of x |", "|---|---|", *rows, ""])


def objectives_table() -> str:
    """What each player minimises, from the formulas that run."""
    real, fake = [(1, Logit("REAL"))], [(1, Logit("FAKE"))]
    rows = [
        f"| `{name}` | {_cell(formula_text(loss(name, 'discriminator', real, fake)))} | "
        f"{_cell(formula_text(loss(name, 'generator', real, fake)))} | {_cell(objective.meaning)} |"
        for name, objective in OBJECTIVES.items()
    ]
    return "\n".join(
        ["| objective | discriminator minimises | the other networks minimise | |", "|---|---|---|---|", *rows, ""]
    )


def penalties_table() -> str:
    """What each penalty adds, from the formulas that run."""
    real, fake = [(1, Logit("REAL"))], [(1, Logit("FAKE"))]
    terms = {kind: formula_text(penalty.value(real, fake, "between"), PRODUCT) for kind, penalty in PENALTIES.items()}
    rows = [
        f"| `{kind}: {{{penalty.weight}: w}}` | w {_cell(terms[kind])} | {_cell(penalty.meaning)} |"
        for kind, penalty in PENALTIES.items()
    ]
    return "\n".join(["| key | term | |", "|---|---|---|", *rows, ""])


def measures_table() -> str:
    """What an evaluation finds, and which way is better."""
    rows = [
        f"| `{name}` | {_cell(measure.meaning)} | {measure.unit or '-'} | {measure.better or '-'} |"
        for name, measure in MEASURES.items()
    ]
    return "\n".join(["| measure | is | unit | better |", "|---|---|---|---|", *rows, ""])


def functionals_table() -> str:
    """What a term is made of."""
    rows = [
        f"| `{_cell(functional_text(name, ARGUMENTS[name], 'p'))}` | {_cell(functional.meaning)} |"
        for name, functional in FUNCTIONALS.items()
    ]
    return "\n".join(["| function | value |", "|---|---|", *rows, ""])


def sources_table() -> str:
    """What may draw a factor."""
    more = {
        "data.NAME": "a training example of the data set of that name, `data.NAME.labeled` of its labelled subset, ...",
        "NETWORK.ROW": "a row of a network; the row is named like the variable",
        "DISTRIBUTION.VARIABLE": "the sample that another distribution draws",
        "[0.2, 0.8]": PRIORS[Probabilities].meaning,
        "{mixture: {means: ..., scale: ...}}": PRIORS[Mixture].meaning,
    }
    rows = [f"| `{word}` | {_cell(meaning)} |" for word, meaning in (SOURCE_MEANINGS | more).items()]
    return "\n".join(["| value | draws |", "|---|---|", *rows, ""])


def _section(name: str, title: str) -> str:
    definition = DEFINITIONS[name]
    properties = dict(definition["properties"])
    if name == "Spec":
        properties = {"extends": DEFINITIONS["Extending"]["properties"]["extends"]} | properties
    rows = [_row(key, schema, definition.get("required", [])) for key, schema in properties.items()]
    head = ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    return "\n".join([f"### {title[0].upper()}{title[1:]}", "", definition["description"], "", *head, *rows, ""])


def _row(key: str, schema: dict[str, Any], required: list[str]) -> str:
    default = f"`{_flow(schema['default'])}`" if schema.get("default", "") not in ("", []) else ""
    example = f"`{_flow(schema['examples'][0])}`" if "examples" in schema else ""
    meaning = schema.get("description") or _referred(schema)["description"]
    cells = [f"`{key}`", _kind(schema), "*required*" if key in required else default, meaning, example]
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _referred(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref") or schema["allOf"][0]["$ref"]
    return DEFINITIONS[reference.rpartition("/")[2]]


def _kind(schema: dict[str, Any]) -> str:
    """A type and its range, in words."""
    if "const" in schema:
        return f"`{_flow(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{_flow(word)}`" for word in schema["enum"])
    if "$ref" in schema or "allOf" in schema:
        return "mapping"
    choices = schema.get("anyOf", schema.get("oneOf"))
    if choices is not None:
        kinds = [_kind(choice) for choice in choices if not choice.get("$ref", "").endswith("/Arithmetic")]
        if schema["anyOf" if "anyOf" in schema else "oneOf"][0].keys() >= {"enum"} and len(kinds) == 2:
            kinds = kinds[1:] if kinds[1] == "text" else kinds
        return " or ".join(dict.fromkeys(kinds))
    kind = schema["type"]
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(schema)
    if kind == "array":
        items = schema["items"]
        if isinstance(items, list):
            return f"{len(items)} values, each {_kind(items[0])}"
        pairs = items.get("type") == "array" and items.get("minItems") == items.get("maxItems") == 2
        return "list of [epoch, value]" if pairs else "list"
    if kind == "object":
        return "by name"
    return {"string": "text", "boolean": "`true`, `false`"}[kind]


def _range(schema: dict[str, Any]) -> str:
    low = f" >= {schema['minimum']}" if schema.get("minimum", -1e15) > -1e15 else ""
    low = f" > {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else low
    high = f" < {schema['exclusiveMaximum']}" if schema.get("exclusiveMaximum", 1e15) < 1e15 else ""
    high = f" <= {schema['maximum']:.3g}" if schema.get("maximum", 1e15) < 1e15 else high
    return (low + ("," if low and high else "") + high).replace("e+", "e")


def _flow(value: object) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_word(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(entry) for entry in value) + "]"
    if isinstance(value, str):
        return _word(value)
    return number_text(value) if isinstance(value, float) else json.dumps(value)


def _word(text: str) -> str:
    return f'"{text}"' if "[" in text or ("," in text and "(" in text) else text
