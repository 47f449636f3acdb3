"""What *Health* can name in a run, by code. One entry each, read by checks, by `ammgraph explain` and by its page."""

FAULTS: dict[str, str] = {
    "unused-components": "Categories are the most probable one for less than a tenth of an even share of the images.",
    "worse-than-k-means": "Clusters agree with the labels less than those of k-means on the pixels do.",
    "mixed-components": "Components hold several classes, none of which is most of their images.",
    "rules-disagree": "The inference network and the Bayes rule of eq. 19 choose different categories.",
    "components-coincide": "Means of components are so near each other that no rule tells what was drawn from which.",
    "latent-mismatch": "The latents that are inferred for a category are not those that it generates from.",
    "blind-reconstruction": "A reconstruction says no more about its image than the mean image does.",
    "discriminator-wins": "A discriminator tells the sides of its game apart, so that they are far from matched.",
    "diverging-loss": "A loss that networks minimise grows, and faster and faster, instead of falling.",
}
