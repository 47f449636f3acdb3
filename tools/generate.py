"""Random specs that are models: an image and one to three latents, networks, games, penalties, schedules.

What comes out must validate, build and step; hypothesis shrinks it where it is given one of its own generators.
"""

import json
import random
from typing import Any

REAL_ACTIVATIONS = ("leaky_relu 0.2", "relu", "elu", "tanh", "softplus", "sigmoid")
CHOICES = ("softmax", "straight_through", "gumbel_softmax 0.5", "gumbel_straight_through 1")
OBJECTIVES = ("jensen_shannon", "minimax", "wasserstein", "least_squares", "hinge")
Rows = dict[str, dict[str, Any]]


def generated(generator: random.Random) -> str:
    """The text of one spec."""
    return json.dumps(spec(generator), indent=1, ensure_ascii=False)


def spec(generator: random.Random) -> dict[str, Any]:
    """One spec as plain data."""
    side, channels = generator.choice((4, 5, 6, 8)), generator.choice((1, 1, 3))
    kinds = {name: generator.choice(("categorical", "real")) for name in ("y", "z", "w")[: generator.randint(1, 3)]}
    labeled = "y" in kinds and kinds["y"] == "categorical" and generator.random() < 0.3
    variables: dict[str, Any] = {"x": {"type": "image", "shape": [channels, side, side]}}
    variables |= {name: {"type": kind, "size": "K" if kind == "categorical" else "D"} for name, kind in kinds.items()}
    networks: dict[str, Any] = {}
    distributions = {
        "q": _inference(generator, kinds, networks),
        "p": _synthesis(generator, kinds, side, channels, networks),
    }
    sides = ["q", "p"]
    if generator.random() < 0.2:
        distributions["p_2"] = "p"
        sides[1] = "1/2 p + 1/2 p_2"
    networks["critic"] = {"layers": _critic(generator, ("x", *kinds), side)}
    games = {"joint": _game(generator, sides, "critic.d")}
    if labeled:
        distributions["q_labeled"] = _labelled(generator, kinds, networks, distributions["q"])
        distributions["p_labeled"] = "p"
        games["labeled"] = _game(generator, ["q_labeled", "p_labeled"], "critic.d")
    if generator.random() < 0.3:
        networks["critic_2"] = {"layers": _critic(generator, (*kinds,), side)}
        games["pair"] = _game(generator, ["q", "p"], "critic_2.d")
    generator_names = [name for name in networks if not name.startswith("critic")]
    found: dict[str, Any] = {
        "ammgraph": 1,
        "title": generator.choice(("", "a <b>title</b>", "K = \u212f")),
        "constants": {"K": generator.randint(2, 6), "H": generator.randint(1, 9), "D": generator.randint(1, 5)},
        "data": {"dataset": "npz", "path": "images.npz", "validation": generator.choice((0, 10))},
        "variables": variables,
        "networks": networks,
        "distributions": distributions,
        "games": games,
        "training": _training(generator, [name for name in networks if name.startswith("critic")], generator_names),
    }
    if labeled:
        found["data"]["labeled"] = {
            "count": generator.choice((10, "all")),
            "choice": generator.choice(("random", "balanced")),
        }
    return found


def _inference(generator: random.Random, kinds: dict[str, str], networks: dict[str, Any]) -> dict[str, Any]:
    """q(x) from data, then every latent given x and some of the latents before it, from one network or from several."""
    factors: dict[str, Any] = {"q(x)": "data"}
    order = generator.sample(sorted(kinds), len(kinds))
    shared: Rows | None = None
    if generator.random() < 0.5:
        shared = {"h": _layer(generator, "x")}
        networks["encoder"] = {"layers": shared}
    for place, name in enumerate(order):
        given = [other for other in order[:place] if generator.random() < 0.5]
        if shared is None:
            rows: Rows = {"h": _layer(generator, "x")}
            networks[f"encoder_{name}"] = {"layers": rows}
        else:
            rows = shared
        source = _joined(generator, rows, name, ["h", *given])
        _head(generator, rows, name, kinds[name], source)
        network = "encoder" if shared is not None else f"encoder_{name}"
        factors[f"q({name}|{','.join(['x', *given])})"] = f"{network}.{name}"
    return factors


def _labelled(
    generator: random.Random, kinds: dict[str, str], networks: dict[str, Any], inference: dict[str, Any]
) -> dict[str, Any]:
    """The same networks with x and y from labelled data."""
    factors = {"q(x,y)": "data.labeled"}
    return factors | {text: value for text, value in inference.items() if not text.startswith(("q(x)", "q(y"))}


def _synthesis(
    generator: random.Random, kinds: dict[str, str], side: int, channels: int, networks: dict[str, Any]
) -> dict[str, Any]:
    """Latents from priors or from networks of those before them, then x from at least one of them."""
    factors: dict[str, Any] = {}
    order = generator.sample(sorted(kinds), len(kinds))
    for place, name in enumerate(order):
        given = [other for other in order[:place] if generator.random() < 0.6]
        chosen = [other for other in given if kinds[other] == "categorical"][:1]
        if chosen and kinds[name] == "real" and generator.random() < 0.4:
            means = {"normal": generator.choice((0.5, 3)), "seed": generator.randint(0, 9)}
            factors[f"p({name}|{chosen[0]})"] = {"mixture": {"means": means, "scale": generator.choice((1, 0.1))}}
        elif given:
            rows: Rows = {}
            _head(generator, rows, name, kinds[name], _joined(generator, rows, name, given))
            networks[f"prior_{name}"] = {"layers": rows}
            factors[f"p({name}|{','.join(given)})"] = f"prior_{name}.{name}"
        elif kinds[name] == "categorical":
            factors[f"p({name})"] = "uniform"
        else:
            factors[f"p({name})"] = generator.choice(("normal", "normal(1, 1/2)", "uniform(-1, 1)"))
    given = generator.sample(order, generator.randint(1, len(order)))
    rows = {}
    source = _joined(generator, rows, "x", given)
    first = generator.choice([width for width in range(1, side + 1) if side % width == 0])
    rows["h"] = {"input": source, "op": "conv_transpose", "channels": "H", "width": first}
    rows["h"] |= generator.choice(({}, {"batchnorm": True}, {"activation": generator.choice(REAL_ACTIVATIONS)}))
    step = side // first
    rows["x"] = {"input": "h", "op": "conv_transpose", "channels": channels, "width": step, "stride": step}
    rows["x"]["activation"] = "sigmoid"
    networks["decoder"] = {"layers": rows}
    factors[f"p(x|{','.join(given)})"] = "decoder.x"
    return factors


def _joined(generator: random.Random, rows: Rows, name: str, reads: list[str]) -> str:
    """A row that reads vectors, as a concatenation or as a sum of layers; its name."""
    if len(reads) == 1 or generator.random() < 0.5:
        rows[f"{name}_in"] = {
            "input": " | ".join(reads),
            "op": "linear",
            "channels": generator.choice((3, "H", "2 * H")),
        }
    else:
        for read in reads:
            rows[f"{name}_{read}"] = {"input": read, "channels": "H", "width": 1, "bias": generator.random() < 0.5}
        rows[f"{name}_in"] = {"input": " + ".join(f"{name}_{read}" for read in reads)}
    rows[f"{name}_in"] |= generator.choice(
        ({}, {"batchnorm": True}, {"activation": generator.choice(REAL_ACTIVATIONS)})
    )
    return f"{name}_in"


def _head(generator: random.Random, rows: Rows, name: str, kind: str, source: str) -> None:
    if kind == "categorical":
        rows[f"{name}_logits"] = {"input": source, "channels": "K", "width": 1}
        rows[name] = {"input": f"{name}_logits", "activation": generator.choice(CHOICES)}
        return
    rows[f"{name}_mu"] = {"input": source, "channels": "D", "width": 1}
    rows[f"{name}_sigma"] = {"input": source, "channels": "D", "width": 1, "activation": "expn"}
    rows[name] = {"input": f"{name}_mu + {name}_sigma"} if generator.random() < 0.7 else {"input": f"{name}_mu"}
    if rows[name]["input"] == f"{name}_mu":
        del rows[f"{name}_sigma"]


def _layer(generator: random.Random, read: str) -> dict[str, Any]:
    """A dense layer of an image, in one of its forms."""
    found: dict[str, Any] = {"input": read, "op": "linear", "channels": generator.randint(1, 8)}
    found |= generator.choice(({}, {"dropout": 0.2}, {"batchnorm": True}))
    if generator.random() < 0.5:
        found["activation"] = generator.choice(REAL_ACTIVATIONS)
    if generator.random() < 0.2:
        found["initializer"] = {
            "weights": generator.choice(({"kaiming_normal": 0.2}, {"orthogonal": 1}, {"uniform": 0.1}))
        }
    return found


def _critic(generator: random.Random, reads: tuple[str, ...], side: int) -> Rows:
    rows: Rows = {}
    parts = []
    for read in reads:
        if read == "x" and generator.random() < 0.5:
            rows["c"] = {
                "input": "x",
                "channels": 4,
                "width": 3,
                "padding": 1,
                "activation": generator.choice((*REAL_ACTIVATIONS, "random_affine 0.2")),
            }
            if side % 2 == 0:
                rows["c"]["pool"] = generator.choice(("max 2", "avg 2"))
            rows["hx"] = {"input": "c", "op": "linear", "channels": "H"}
        else:
            rows[f"h{read}"] = {"input": read, "op": "linear", "channels": generator.randint(1, 8)}
        rows[f"h{read}"] |= generator.choice(({}, {"dropout": 0.3}, {"activation": "leaky_relu 0.2"}))
        parts.append(f"h{read}")
    rows["h"] = {"input": " | ".join(parts), "op": "linear", "channels": 6, "activation": "tanh"}
    rows["d"] = {"input": "h", "channels": 1, "width": 1}
    return rows


def _game(generator: random.Random, match: list[str], discriminator: str) -> dict[str, Any]:
    found: dict[str, Any] = {"match": match, "discriminator": discriminator, "objective": generator.choice(OBJECTIVES)}
    penalties: dict[str, dict[str, Any]] = {
        "roth_penalty": {"gamma": 0.1},
        "r1_penalty": {"gamma": [[0, 1], [5, 0.1]]},
    }
    if "+" not in match[1]:
        penalties["gradient_penalty"] = {"lambda": 10}
    for kind in generator.sample(sorted(penalties), generator.choice((0, 1, 1, 2))):
        lazily = {"every": generator.choice((2, 3, 16))} if generator.random() < 0.3 else {}
        found[kind] = penalties[kind] | lazily
    if generator.random() < 0.3:
        found["weight"] = generator.choice(("1/2", 2, [[0, 0.1], [10, 1]]))
    if generator.random() < 0.3:
        found["batch"] = generator.choice(("joint", "separate"))
    return found


def _training(generator: random.Random, critics: list[str], others: list[str]) -> dict[str, Any]:
    adam = {
        "name": "adam",
        "learning_rate": generator.choice((2e-4, "1/1000", [[0, 1e-3], [10, 0]])),
        "betas": [0.5, 0.999],
    }
    sgd = {"name": "sgd", "learning_rate": 1e-3, "momentum": generator.choice((0, 0.9))}
    rmsprop = {"name": "rmsprop", "learning_rate": 1e-4}
    found: dict[str, Any] = {"batch_size": generator.choice((2, 10, 100)), "optimizers": {"default": adam}}
    found |= generator.choice(({"epochs": 3}, {"epochs": 0.5}, {"steps": 7}))
    if generator.random() < 0.4:
        found["optimizers"][generator.choice([*critics, *others])] = generator.choice((sgd, rmsprop))
    if generator.random() < 0.3:
        found["ema"] = {"default": 0.9}
    if generator.random() < 0.3:
        later = {"draw": "same"} if generator.random() < 0.5 else {}
        found["schedule"] = [{"update": critics, "steps": generator.randint(1, 3)}, {"update": others, **later}]
    return found
