"""What other libraries call the parts of a loss and of training, and what says it here: for hints."""

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


def said_as(word: str) -> str:
    """A term that says what a word of other libraries means, or nothing."""
    return _SAID.get(word.lower(), "")


def hint_of_section(word: str) -> str:
    """A hint for a word of other libraries that stands where no term is; nothing for other words."""
    if word.lower() in _TRAINING:
        return _TRAINING[word.lower()]
    return f'a section `terms` says it: `NAME: {{minimize: "{said_as(word)}"}}`' if said_as(word) else ""
