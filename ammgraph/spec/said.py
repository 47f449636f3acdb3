"""What other libraries call the parts of a loss, and the terms that say it: for hints."""

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


def said_as(word: str) -> str:
    """A term that says what a word of other libraries means, or nothing."""
    return _SAID.get(word.lower(), "")


def hint_of_section(word: str) -> str:
    """A hint for a word of other libraries that stands where no term is; nothing for other words."""
    return f'a section `terms` says it: `NAME: {{minimize: "{said_as(word)}"}}`' if said_as(word) else ""
