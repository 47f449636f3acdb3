"""What a run records while it trains, by name: written and read here alone."""

from dataclasses import dataclass

GRADIENT = "gradient_norm"
RATE = "learning_rate"
ACCURACY = "accuracy"
USE, ENTROPY = "use", "entropy"


@dataclass(frozen=True)
class Metric:
    """A number of a game, a network, a draw's category (`q.y`), or a variable as a rule reads it (`y/bayes`)."""

    owner: str
    what: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.what}" if self.owner else self.what

    @classmethod
    def of(cls, name: str) -> "Metric":
        """The one whose text is `name`."""
        owner, _, what = name.rpartition("/")
        return cls(owner, what)

    @property
    def variable(self) -> str:
        """Of a draw's category the variable."""
        return self.owner.rpartition(".")[2]
