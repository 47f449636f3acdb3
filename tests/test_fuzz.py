"""Whatever is taken for a spec is a plan that shows, builds and steps, or diagnostics with places; never anything else.

`tools/fuzz` throws as many as there is time for; here are 2,000 of them, 750 where tests are not to be slow.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TOOLS = Path(__file__).parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

import fuzz  # noqa: E402
from examine import examine  # noqa: E402
from generate import generated, spec  # noqa: E402

SPECS = st.randoms(use_true_random=False).map(generated)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(SPECS)
def test_a_generated_spec_validates_builds_and_steps(text: str) -> None:
    verdict = examine(text, "generated.yaml", set())
    assert (verdict.outcome, verdict.failure) == ("stepped", ""), text


@pytest.mark.parametrize("part", [*range(3), *(pytest.param(part, marks=pytest.mark.slow) for part in range(3, 8))])
def test_two_thousand_changed_specs_give_a_plan_or_diagnostics(part: int) -> None:
    """One in fifty of those that are models is stepped, too."""
    stepped: set[str] = set()
    for number in range(250 * part, 250 * (part + 1)):
        file, text = fuzz.example(2026, number)
        verdict = examine(text, file, None if number % 50 else stepped)
        assert not verdict.failure, f"tools/fuzz --seed 2026 --only {number}: {verdict.failure}"


def test_examples_are_repeated_by_their_number() -> None:
    assert [fuzz.example(1, number) for number in range(20)] == [fuzz.example(1, number) for number in range(20)]
    assert fuzz.example(1, 3) != fuzz.example(2, 3)


def test_generated_games_have_lazy_penalties_and_several() -> None:
    games = [game for seed in range(60) for game in spec(random.Random(seed))["games"].values()]
    penalties = [[value for key, value in game.items() if key.endswith("_penalty")] for game in games]
    assert {len(found) for found in penalties} == {0, 1, 2}
    assert {value.get("every", 1) for found in penalties for value in found} == {1, 2, 3, 16}


def test_a_run_of_the_fuzzer_counts_every_example() -> None:
    # Its workers are forks, in which autograd does not go on where this process has used it.
    code = "import json, fuzz; print(json.dumps(fuzz.fuzz(seed=5, examples=6, seconds=120)))"
    here = os.environ | {"PYTHONPATH": str(Path(fuzz.__file__).parent)}
    ended = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["examples"] == 6
    assert sum(found["outcomes"].values()) == 6
    assert found["failures"] == []


def test_a_failure_is_cut_down_to_the_lines_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line {number}" for number in range(40)]

    def fails_with_17(text: str, file: str, stepped: object) -> fuzz.Verdict:
        return fuzz.Verdict("failure", "seventeen") if "line 17" in text else fuzz.Verdict("invalid")

    monkeypatch.setattr(fuzz, "example", lambda seed, number: ("a.yaml", "\n".join(lines)))
    monkeypatch.setattr(fuzz, "examine", fails_with_17)
    assert fuzz.minimal(1, 0) == "line 17"


def test_generators_agree_with_a_plain_random_one() -> None:
    assert generated(random.Random(4)) == generated(random.Random(4))
