"""Phases of a plan: their turns and lengths, what is fitted before which, and how it is printed."""

import json

from tiny import PHASES, TINY, plan_of

from ammgraph.plan.changes import longer
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.turns import FitPlan
from ammgraph.show.as_json import as_json
from ammgraph.show.diagram import flows
from ammgraph.show.latex import latex
from ammgraph.show.text import step_text

CONSTANT = "networks.components.layers.z_sigma={input: zeros(Z), activation: expn}"


def test_turns_lie_one_after_another_and_a_fit_belongs_to_the_phase_after_it() -> None:
    plan = plan_of(PHASES)
    assert [(phase.first, phase.count, phase.epochs, phase.steps) for phase in plan.phases] == [
        *[(0, 1, 0.15, None), (1, 2, None, 7), (3, 1, None, 5)]
    ]
    assert [turn.update for turn in plan.turns_of(plan.phases[1])] == [
        ("classifier", "components"),
        ("encoder", "decoder"),
    ]
    fit = FitPlan("p(z|y)", "components", "z_mu", "z_sigma", "z", 10, "q")
    assert [phase.fits for phase in plan.phases] == [(), (fit,), ()]


def test_without_phases_all_turns_are_one_stage_and_the_identity_is_without_them() -> None:
    plan = plan_of(TINY)
    assert plan.phases == ()
    (stage,) = plan.stages
    assert plan.turns_of(stage) == plan.turns
    assert (stage.epochs, stage.steps) == (plan.epochs, plan.steps)


def test_what_is_fitted_is_part_of_the_identity() -> None:
    assert plan_hash(plan_of(PHASES, "training.phases.2=null")) != plan_hash(plan_of(PHASES))
    assert plan_of(PHASES, CONSTANT).phases[1].fits[0].log_variance == ""


def test_the_step_is_told_phase_by_phase_without_the_length_of_the_last() -> None:
    lines = [line.strip() for line in step_text(plan_of(PHASES)).splitlines()]
    assert [line for line in lines if line.startswith(("phase", "then", "turn"))] == [
        "phase 1 of 3: 0.15 epochs",
        "turn: updates encoder, decoder; draws anew",
        "then fit p(z|y) to the means of z that q infers, 10 components: columns of z_mu and z_sigma in components",
        "phase 2 of 3: 7 steps",
        "turn x 2: updates classifier, components; draws anew",
        "turn: updates encoder, decoder; draws as before",
        "phase 3 of 3: to the end",
        "turn: updates encoder, classifier, components, decoder; draws anew",
    ]


def test_mathematics_says_what_is_fitted() -> None:
    lines = latex(plan_of(PHASES)).splitlines()
    assert lines[lines.index("% before phase 2") + 1] == (
        r"p(z \mid y = k) = \mathcal{N}(\mu_k, \sigma_k^2), \quad (\pi, \mu, \sigma) = "
        r"\mathrm{argmax}_{\pi, \mu, \sigma} \sum_n \log \sum_k \pi_k \, \mathcal{N}(\bar{z}_n; \mu_k, \sigma_k^2), "
        r"\quad \bar{z}_n = \mathbb{E}_{q}[z \mid x_n]"
    )
    assert [line for line in lines if line.startswith("% players")] == [
        *[
            "% players of phase 1",
            "% players of turn 1 of phase 2",
            "% players of turn 2 of phase 2",
            "% players of phase 3",
        ]
    ]


def test_drawings_and_data_have_the_phases() -> None:
    plan = plan_of(PHASES)
    assert [flow.title.partition(". ")[0] for flow in flows(plan)] == [
        "Phase 1 of 3: 0.15 epochs",
        *2 * ["Phase 2 of 3: 7 steps, after fitting p(z|y) to q"],
        "Phase 3 of 3: to the end",
    ]
    phases = json.loads(json.dumps(as_json(plan)))["training"]["phases"]
    assert [(phase["turns"], [fit["factor"] for fit in phase["fits"]]) for phase in phases] == [
        *[([0], []), ([1, 2], ["p(z|y)"]), ([3], [])]
    ]
    assert phases[0]["forward_multiply_adds"]["components"] == 0
    assert "phases" not in as_json(plan_of(TINY))["training"]


def test_longer_training_is_a_longer_phase_before_a_fit_or_a_longer_last_one() -> None:
    before, last = longer(plan_of(PHASES))
    assert before.override == "training.phases.1.epochs=0.3"
    assert last.override == "training.phases.4.steps=10"
    assert [phase.epochs for phase in plan_of(PHASES, before.override).phases] == [0.3, None, None]
    assert plan_of(PHASES, last.override).phases[-1].steps == 10
