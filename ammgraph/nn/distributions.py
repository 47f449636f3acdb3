"""Distributions of a batch by their parameters: what factors give and terms measure."""

from dataclasses import dataclass

from torch import Tensor

from ammgraph.nn.functions import pooled


@dataclass(frozen=True)
class Distribution:
    """Distributions of a batch, shape (B, ...), or one for all, (1, ...), by their parameters.

    normal       `first` the means, `second` the log-variances
    categorical  `first` the logits
    bernoulli    `first` the logits, one for each element
    """

    kind: str
    first: Tensor
    second: Tensor | None = None

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What functions of it take."""
        return (self.first,) if self.second is None else (self.first, self.second)

    def stopped(self) -> "Distribution":
        """The same as a constant."""
        return Distribution(self.kind, *(parameter.detach() for parameter in self.parameters))

    def pooled(self) -> "Distribution":
        """The mean of categorical distributions over the batch."""
        return Distribution("categorical", pooled(self.first))
