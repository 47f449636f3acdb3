"""What other libraries call the parts of a loss and of training, and what says it here: for hints."""

from collections.abc import Collection, Mapping

# What other libraries call the parts of a loss -> a term that says it.
_SAID = {
    **dict.fromkeys(("mse", "mse_loss", "l2_loss", "squared_error"), "E[q] l2(x, decoder.x)"),
    **dict.fromkeys(("mae", "l1_loss"), "E[q] l1(x, decoder.x)"),
    **dict.fromkeys(
        ("loss", "losses", "nll", "bce", "likelihood", "reconstruction", "autoencoder"), "-E[q] log p(x|z)"
    ),
    **dict.fromkeys(("ce", "cross_entropy"), "-E[q] log c(y|x)"),
    **dict.fromkeys(("kl", "kld", "kl_divergence"), "E[q] KL(q(z|x) || p(z))"),
    **dict.fromkeys(("entropy", "h"), "E[q] H(q(y|x))"),
    **dict.fromkeys(("ln", "log_prob"), "E[q] log p(x|z)"),
    **dict.fromkeys(("elbo", "vae"), "E[q] KL(q(z|x) || p(z)) - E[q] log p(x|z)"),
    **dict.fromkeys(("lds", "adversarial", "virtual_adversarial"), "E[q] vat(c(y|x), x, 4, 10)"),
    **dict.fromkeys(("stop", "sg", "detach", "stop_gradient"), "E[q] KL(stop c(y|x) || q(y|x))"),
}


_COURSE = "a learning rate has its course: `learning_rate: {cosine: [2e-4, 0], over: 100, warmup: 5}`"
_BOUND = "an optimizer bounds its gradient: `optimizers: {default: {gradient_clip: 1}}` with its other keys"
_SLOPE = (
    "weights are not clipped; a game's `gradient_penalty: {lambda: 10}`, or `spectralnorm: true` in the rows of its "
    "discriminator, bounds its slope"
)
_STILL = "a network stands still by `trainable: false` in its own section"
_BEGINS = "a network begins as one of an earlier run by `from: RUN` in its own section"
# What other libraries call parts of training -> what is written here.
_TRAINING = {
    **dict.fromkeys(("warmup", "warm_up", "warmup_steps", "warmup_epochs", "cosine"), _COURSE),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), _COURSE),
    **dict.fromkeys(("gradient_clip", "gradient_clipping", "grad_clip", "clip_grad", "clip_grad_norm"), _BOUND),
    **dict.fromkeys(("clip", "clip_norm", "max_grad_norm"), _BOUND),
    **dict.fromkeys(("weight_clip", "clip_weights", "weight_clipping", "lipschitz"), _SLOPE),
    **dict.fromkeys(("freeze", "frozen", "requires_grad", "fixed"), _STILL),
    **dict.fromkeys(("pretrained", "init_from", "checkpoint", "load", "weights_from"), _BEGINS),
    **dict.fromkeys(("lr", "rate"), "an optimizer has a `learning_rate`"),
}

# What other libraries call a key -> the key, where the place has it.
_KEYS = {
    **dict.fromkeys(("units", "neurons", "filters", "features", "out_features", "out_channels", "nodes"), "channels"),
    **dict.fromkeys(("kernel", "kernel_size", "filter_size", "window", "pool_size"), "width"),
    **dict.fromkeys(("nonlinearity", "act", "activation_fn"), "activation"),
    **dict.fromkeys(("dtype", "kind"), "type"),
    **dict.fromkeys(("dim", "dims", "dimension", "dimensions", "num_classes", "classes", "categories"), "size"),
    **dict.fromkeys(("optimizer", "algorithm"), "name"),
    **dict.fromkeys(("eps",), "epsilon"),
}
_DATA_SETS = "several data sets each have a name: `data: {a: {dataset: ...}, b: {dataset: ...}}`"
_PRIOR = "what a variable is drawn by is a factor: `p(z): normal` in `distributions`"
# What other libraries call the loss of a game -> its objective.
_OBJECTIVES = {
    **dict.fromkeys(("bce", "bce_loss", "gan", "vanilla", "js", "jsd", "binary_cross_entropy"), "jensen_shannon"),
    **dict.fromkeys(("wgan", "wgan_gp", "emd"), "wasserstein"),
    **dict.fromkeys(("lsgan", "mse", "l2"), "least_squares"),
    **dict.fromkeys(("hinge_loss",), "hinge"),
}
# What other libraries call a prior, an operation, an activation -> what it is here.
_WORDS = {
    "prior": {
        **dict.fromkeys(("gaussian", "gauss", "n", "standard_normal", "randn"), "normal"),
        "rand": "uniform",
    },
    "op": {
        **dict.fromkeys(("dense", "fc", "fully_connected", "affine", "lin"), "linear"),
        **dict.fromkeys(("deconv", "deconvolution", "transposed_conv"), "conv_transpose"),
    },
    "activation": {
        **dict.fromkeys(("lrelu", "leaky", "leakyrelu"), "leaky_relu 0.2"),
        **dict.fromkeys(("gumbel", "gumbelsoftmax"), "gumbel_softmax 0.5"),
        "logistic": "sigmoid",
    },
}


def hint_of_word(place: str, word: str) -> str:
    """A hint for what other libraries call a `prior`, an `op` or an `activation`; nothing for other words."""
    meant = _WORDS.get(place, {}).get(word.lower().replace("-", "_"))
    return f"did you mean `{meant}`?" if meant else ""


def hint_of_objective(word: object) -> str:
    """A hint for what other libraries call the loss of a game; nothing for other words."""
    meant = _OBJECTIVES.get(word.lower().replace("-", "_")) if isinstance(word, str) else None
    return f"the loss of a game is its `objective: {meant}`" if meant else ""


def hint_of_key(word: str, value: object, keys: Collection[str]) -> str:
    """A hint for a word of other libraries that stands among these keys, with its value; nothing for other words."""
    key = _KEYS.get(word.lower(), "")
    if key in keys:
        return f"did you mean `{key}`?"
    if word.lower() in ("loss", "criterion") and "objective" in keys:
        meant = hint_of_objective(value) or "the loss of a game is its `objective`, as `jensen_shannon`"
        return f"{meant}; where there is no discriminator, {hint_of_section('loss')}"
    if "dataset" in keys and isinstance(value, Mapping):
        return _DATA_SETS
    return _PRIOR if word.lower() in ("prior", "distribution") and {"type", "size"} <= {*keys} else ""


def said_as(word: str) -> str:
    """A term that says what a word of other libraries means, or nothing."""
    return _SAID.get(word.lower(), "")


def hint_of_section(word: str) -> str:
    """A hint for a word of other libraries that stands where no term is; nothing for other words."""
    if word.lower() in _TRAINING:
        return _TRAINING[word.lower()]
    return f'a section `terms` says it: `NAME: {{minimize: "{said_as(word)}"}}`' if said_as(word) else ""
