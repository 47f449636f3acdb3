"""Which gradients one backward pass takes: those of losses that reach no network that another one trains."""

from pathlib import Path

from tiny import plan_of

from ammgraph.plan.turns import TurnPlan

SPECS = Path(__file__).parent.parent.parent / "specs"


def walks_of(turn: TurnPlan) -> list[set[str]]:
    return [{name for objective in walk for name in objective.losses} for walk in turn.walks]


def turns_of(name: str) -> tuple[TurnPlan, ...]:
    return plan_of(SPECS / f"{name}.yaml").turns


def test_games_whose_networks_are_all_that_their_samples_reach_share_a_pass() -> None:
    (*_, last) = turns_of("amm_mnist_smooth")
    assert len([objective for objective in last.objectives if objective.through == "samples"]) == 3
    generators = {"joint/generator", "image/generator", "again/generator"}
    assert walks_of(last) == [{*generators, "smooth/value", "information/value"}]


def test_a_term_that_reaches_a_network_which_it_does_not_train_has_a_pass_of_its_own() -> None:
    """`regress_encoder` reaches the decoder, too, by whose images the encoder is regressed."""
    for turn in turns_of("bigan_regressor_mnist"):
        for walk in turn.walks:
            both = {name for objective in walk for name in objective.networks}
            for objective in walk:
                reached = {name for loss in objective.losses for name, _ in turn.loss(loss).paths}
                assert both & reached <= set(objective.networks)
    alone = [walk for turn in turns_of("bigan_regressor_mnist") for walk in walks_of(turn)]
    assert {"regress_encoder/value"} in alone
