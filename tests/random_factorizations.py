"""Random pairs of factorizations that are models."""

from hypothesis import strategies as st

from ammgraph.start.typed import Typed

NAMES = ["z", "y", "z1", "y2", "h1", "x1_", "critic", "encoder", "logit", "null", "true", "c", "size_z", "joint"]


@st.composite
def factorizations(draw: st.DrawFn) -> Typed:
    """Two random directed acyclic graphs over x and up to four more variables, x a root of q."""
    latents = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    sides = []
    for head in "qp":
        order = ["x", *latents] if head == "q" else draw(st.permutations(["x", *latents]))
        factors = []
        for place, name in enumerate(order):
            # On each side something reads something, or there is nothing to learn.
            least = 1 if place == len(order) - 1 else 0
            parents = draw(st.lists(st.sampled_from(order[:place]), unique=True, min_size=least)) if place else []
            factors.append(f"{head}({name}{'|' + ','.join(parents) if parents else ''})")
        sides.append(" ".join(draw(st.permutations(factors))))
    return Typed(*sides, image=(("", (1, 8, 8)),), data="npz")
