"""The JSON Schema of a spec, for editors: from the models of `schema`, in draft 7, which editors know best.

A spec that stands alone has all required keys. One that `extends` another writes any part of them, and `null` wherever
something inherited can be removed: the same definitions once more, as variants.
"""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from ammgraph.spec.data import NO_NAMES
from ammgraph.spec.data_sets import OWN_DATA
from ammgraph.spec.merge import is_unit
from ammgraph.spec.names import RESERVED
from ammgraph.spec.schema import Spec
from ammgraph.spec.values import ARITHMETIC_SCHEMA, FACTOR_PATTERN, IDENTIFIER_PATTERN

Schema = dict[str, Any]

SCHEMA_FILE = "ammgraph.schema.json"
SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"  # the first line of a spec, the schema beside it
EXTENDS = {
    "type": "string",
    "minLength": 1,
    "description": "A spec that this one changes, relative to this file; it may extend another.",
    "examples": ["amm_mnist.yaml"],
}
_TO_BE_REMOVED = {"type": "null", "description": "Removes the inherited value."}


class _InOrder(GenerateJsonSchema):
    """Keys as the models have them, not by alphabet."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


def json_schema() -> Schema:
    """The schema of a spec's file."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "ammgraph spec",
        "description": "A declarative spec of an adversarial latent-variable model.",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/definitions/Extending"},
        "else": {"$ref": "#/definitions/Spec"},
        "definitions": definitions(),
    }


def schema_text() -> str:
    """The schema as it is written to `ammgraph.schema.json`, beside the specs that name it."""
    return json.dumps(json_schema(), indent=1) + "\n"


def definitions() -> Schema:
    """The schema of each section by name, and of its variant in a spec that extends another."""
    written = Spec.model_json_schema(by_alias=True, schema_generator=_InOrder)
    found = {name: _plain(definition) for name, definition in written.pop("$defs").items()}
    found["Spec"] = _plain(written)
    found["Arithmetic"] = {**ARITHMETIC_SCHEMA, "description": "Arithmetic of numbers and constants, `2 * (K + 1)`."}
    _name_the_names(found)
    variants: Schema = {}
    top = _variant(found["Spec"], (), found, variants)
    found["Extending"] = {**top, "properties": {"extends": EXTENDS, **top["properties"]}, "required": ["extends"]}
    # A network's optimizer takes from the default what it does not write.
    optimizers = found["Training"]["properties"]["optimizers"]
    merged = variants["TrainingVariant"]["properties"]["optimizers"]["anyOf"][0]["additionalProperties"]
    optimizers["properties"] = {"default": optimizers["additionalProperties"]}
    optimizers["additionalProperties"] = _without_null(merged)
    _relate_keys(found)
    return {**found, **dict(sorted(variants.items()))}


def _plain(schema: Any) -> Any:
    """The schema of pydantic without titles, without null (which only a spec that extends may write), in draft 7."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == ARITHMETIC_SCHEMA:
        return {"$ref": "#/definitions/Arithmetic"}
    found = {key: _plain_value(key, value) for key, value in schema.items() if key not in ("title", "discriminator")}
    if found.get("default", "") is None:
        del found["default"]
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
    if "$ref" in found:
        found["$ref"] = found["$ref"].replace("#/$defs/", "#/definitions/")
    found = _without_null(found)
    if "$ref" in found and len(found) > 1:  # in draft 7 what stands beside a reference is not read
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    return found


def _plain_value(key: str, value: Any) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _plain(schema) for name, schema in value.items()}
    return value if key in ("default", "examples", "enum", "const") else _plain(value)


def _without_null(schema: Schema) -> Schema:
    """A choice without its null; one alternative that is left stands for itself."""
    if "anyOf" not in schema:
        return schema
    left = [choice for choice in schema["anyOf"] if choice.get("type") != "null"]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**left[0], **rest} if len(left) == 1 else {**rest, "anyOf": left}


def _name_the_names(definitions: Schema) -> None:
    """Names are identifiers, and no words of the language; the keys of a distribution are factors."""
    sections = definitions["Spec"]["properties"]
    for section in ("constants", "games", "terms"):
        sections[section]["propertyNames"] = {"pattern": IDENTIFIER_PATTERN}
    for section in ("variables", "networks", "distributions"):
        sections[section]["propertyNames"] = {"pattern": IDENTIFIER_PATTERN, "not": {"enum": list(RESERVED)}}
    _, several = sections["data"]["oneOf"]
    several["propertyNames"] = {"pattern": IDENTIFIER_PATTERN, "not": {"enum": list(NO_NAMES)}}
    several["description"] = "Several data sets by their names."
    several["minProperties"] = 1
    layers = definitions["Network"]["properties"]["layers"]
    layers["propertyNames"] = {"pattern": IDENTIFIER_PATTERN, "not": {"enum": ["zeros"]}}
    factors, again = sections["distributions"]["additionalProperties"]["oneOf"]
    factors["propertyNames"] = {"pattern": FACTOR_PATTERN}
    factors["description"] = "Factors in the notation of papers, `q(z|x)`, and what draws each."
    again["description"] = "The distribution of this name, drawn again."
    definitions["Distribution"] = {"anyOf": [factors, again]}
    sections["distributions"]["additionalProperties"] = {"$ref": "#/definitions/Distribution"}


def _relate_keys(definitions: Schema) -> None:
    """What a spec that stands alone says exactly once, and the path that only a user's own data have."""
    for name in ("Weights", "SourceMapping"):
        definitions[name] |= {"minProperties": 1, "maxProperties": 1}
    definitions["Training"]["oneOf"] = [{"required": [key]} for key in ("epochs", "steps", "phases")]
    definitions["Phase"]["oneOf"] = [{"required": keys} for keys in (["epochs"], ["steps"], ["fit", "to"])]
    own = {"properties": {"dataset": {"enum": list(OWN_DATA)}}}
    definitions["Data"] |= {"if": own, "then": {"required": ["path"]}, "else": {"not": {"required": ["path"]}}}


def _variant(schema: Schema, path: tuple[str, ...], complete: Schema, variants: Schema) -> Schema:
    """What a spec that extends another may write at `path`; the definitions that it needs are added to `variants`."""

    def inside(child: Schema, name: str) -> Schema:
        here = (*path, name)
        return _or_null(child if is_unit(here) else _variant(child, here, complete, variants))

    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/definitions/")
        if f"{name}Variant" not in variants:
            variants[f"{name}Variant"] = {}  # before its own parts, which may refer to it
            variants[f"{name}Variant"] = _variant(complete[name], path, complete, variants)
        return {**schema, "$ref": f"#/definitions/{name}Variant"}
    found = {key: value for key, value in schema.items() if key not in ("required", "minProperties", "oneOf")}
    for key in ("allOf", "anyOf", "oneOf"):
        if key in schema:  # without its required keys, more than one alternative may fit
            kept = "anyOf" if key == "oneOf" else key
            found[kept] = [_variant(choice, path, complete, variants) for choice in schema[key]]
    if "properties" in schema:
        found["properties"] = {name: inside(child, name) for name, child in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = inside(schema["additionalProperties"], "*")
    return found


def _or_null(schema: Schema) -> Schema:
    said: Schema = {key: schema[key] for key in ("description", "examples") if key in schema}
    return {**said, "anyOf": [schema, _TO_BE_REMOVED]}
