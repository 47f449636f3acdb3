"""What is known of the data sets with a name without reading them."""

# Training and test images.
COUNTS = {"digits": (1_797, 0), "mnist": (60_000, 10_000), "svhn": (73_257, 26_032)}
