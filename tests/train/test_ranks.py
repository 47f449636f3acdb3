"""Two processes that train one model: what they hold is equal, and is what one process finds on the whole batch."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import INFORMED, LABELED, PATIENCE, TERMS, TINY, differences, plan_of
from torch import Tensor
from torch.nn import functional as F
from two_ranks import KINDS, STEPS, normalized, own_outcome, trained, trainer_of

from ammgraph.diagnostics import RunError
from ammgraph.train.ranks import ALONE, Ranks, divided_means, joined, shard

PAIR = (Ranks(0, 2), Ranks(1, 2))
SAME = [kind for kind in KINDS if kind != "batch norm of each process"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests.parent), str(tests), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         tests / "train" / "two_ranks.py", folder],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=PATIENCE,
    )  # fmt: skip
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


def far_apart(first: Any, second: Any, tolerance: float = 1e-10) -> dict[str, float]:
    """The places in which two trees of tensors differ by more."""
    if isinstance(first, Tensor):
        distance = float((first.double() - second.double()).abs().max()) if first.numel() else 0.0
        return {"": distance} if not distance <= tolerance * (1 + float(second.double().abs().max())) else {}
    if isinstance(first, dict | list | tuple):
        assert len(first) == len(second)
        pairs = ((key, first[key], second[key]) for key in (first if isinstance(first, dict) else range(len(first))))
        return {f"{key}/{place}": far for key, a, b in pairs for place, far in far_apart(a, b, tolerance).items()}
    return {} if first == second else {"": math.inf}


def test_each_process_knows_its_place(both: list[dict[str, Any]]) -> None:
    assert [found["ranks"] for found in both] == [[0, 2, 0, 2], [1, 2, 1, 2]]


@pytest.mark.parametrize("kind", KINDS)
def test_both_processes_hold_the_same_bits(kind: str, both: list[dict[str, Any]]) -> None:
    first, second = (found["states"][kind] for found in both)
    assert first["step"] == STEPS
    assert differences(first, second) == []


@pytest.mark.parametrize("kind", SAME)
def test_two_processes_train_the_model_that_one_trains(kind: str, both: list[dict[str, Any]]) -> None:
    """Weights, running statistics, averages, optimizers, streams and logged values, up to the order of sums."""
    alone = trained(trainer_of(kind))
    del alone["recorder"], (found := dict(both[0]["states"][kind]))["recorder"]
    assert far_apart(found, alone) == {}


def test_logged_values_are_those_of_the_whole_batch(both: list[dict[str, Any]]) -> None:
    for kind in SAME:
        alone = trained(trainer_of(kind))["recorder"]
        found = both[0]["states"][kind]["recorder"]
        assert found["names"] == alone["names"]
        assert torch.allclose(found["rows"], alone["rows"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["batch norm of each process"])
def test_a_gradient_is_the_mean_of_those_of_the_parts(kind: str, both: list[dict[str, Any]]) -> None:
    trainers = [trainer_of(kind, ranks) for ranks in PAIR]
    parts = [own_outcome(it) for it in trainers]
    for found in both:
        for network, gradients in found["gradients"][kind]["gradients"].items():
            means = [(a + b) / 2 for a, b in zip(*(part.gradients[network] for part in parts), strict=True)]
            assert far_apart(gradients, means, 1e-13) == {}
        for name, value in found["gradients"][kind]["values"].items():
            if not name.endswith("gradient_norm"):
                assert far_apart(value, (parts[0].values[name] + parts[1].values[name]) / 2, 1e-6) == {}
        for name, buffer in found["gradients"][kind]["buffers"].items():  # the running statistics
            mean = sum(dict(it.model.named_buffers())[name] for it in trainers) / 2
            assert far_apart(buffer, mean, 1e-13) == {}
    statistics = [name for name in both[0]["gradients"][kind]["buffers"] if name.endswith("running_mean")]
    assert statistics
    own = [dict(it.model.named_buffers())[statistics[0]] for it in trainers]
    assert not torch.allclose(*own)  # the parts differ, so that their mean means something


@pytest.mark.parametrize("kind", SAME)
def test_a_gradient_is_that_of_the_whole_batch(kind: str, both: list[dict[str, Any]]) -> None:
    it = trainer_of(kind)
    whole = own_outcome(it)
    for found in both:
        assert far_apart(found["gradients"][kind]["gradients"], whole.gradients, 1e-12) == {}
        assert far_apart(found["gradients"][kind]["values"], whole.values, 1e-6) == {}
        assert far_apart(found["gradients"][kind]["buffers"], dict(it.model.named_buffers()), 1e-12) == {}


def test_gradient_norms_are_those_of_the_mean(both: list[dict[str, Any]]) -> None:
    for kind in KINDS:
        found = both[0]["gradients"][kind]
        for network, gradients in found["gradients"].items():
            norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
            assert float(found["values"][f"{network}/gradient_norm"]) == pytest.approx(norm, rel=1e-12)


SHAPES = {"image": (6, 3, 5, 4), "vector": (8, 2, 1, 1), "one example": (2, 3, 2, 2)}


@pytest.mark.parametrize("name", SHAPES)
def test_batch_norm_over_both_parts_is_that_of_the_whole(name: str, both: list[dict[str, Any]]) -> None:
    whole = normalized(F.batch_norm, lambda batch: batch.clone(), *SHAPES[name])
    parts = [found["batch norm"][name] for found in both]
    for key, value in whole.items():
        if key in ("mean", "variance"):
            assert far_apart(parts[0][key], value, 1e-13) == far_apart(parts[1][key], value, 1e-13) == {}
        elif key == "y":
            assert far_apart(torch.cat([part[key] for part in parts]), value, 1e-12) == {}
        elif key.endswith(" x"):  # of a mean over half of the examples
            assert far_apart(torch.cat([part[key] for part in parts]) / 2, value, 1e-12) == {}
        else:
            assert far_apart((parts[0][key] + parts[1][key]) / 2, value, 1e-12) == {}


def test_two_processes_that_resume_have_the_same_bits(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert differences(found["states"]["alternating and averaged"], found["resumed"]) == []


def test_one_process_goes_on_where_two_have_stopped(both: list[dict[str, Any]]) -> None:
    kind = SAME[0]
    it = trainer_of(kind, seed=99)
    it.load_state_dict(both[0]["states"][kind])
    whole = trained(trainer_of(kind), STEPS + 2)
    found = trained(it, 2)
    del whole["recorder"], found["recorder"]
    assert far_apart(found, whole) == {}


def test_what_one_process_says_all_hear(both: list[dict[str, Any]]) -> None:
    assert [found["any"] for found in both] == [[False, True, True]] * 2


def test_what_is_wrong_in_one_process_stops_both_with_the_same_words(both: list[dict[str, Any]]) -> None:
    for found in both:
        infinite, differing = found["errors"]
        assert infinite == "the gradient of network `encoder` is nan at step 1"
        assert differing == (
            "process 1 has another plan than process 0: b, not a; every machine needs the same spec, data and versions"
        )


# ------------------------------------------------------------------------------------------------ parts of a batch


def test_parts_of_joined_batches() -> None:
    joint = torch.arange(12)  # a batch of 4 and one of 8
    assert Ranks(0, 2).part(joint, [4, 8]).tolist() == [0, 1, 4, 5, 6, 7]
    assert Ranks(1, 2).part(joint, [4, 8]).tolist() == [2, 3, 8, 9, 10, 11]
    assert Ranks(3, 4).part(joint, [12]).tolist() == [9, 10, 11]
    assert ALONE.part(joint, [4, 8]) is joint


@pytest.mark.parametrize("path", [TINY, LABELED])
def test_noise_and_data_of_the_parts_are_those_of_the_whole(path: Path) -> None:
    kind = next(kind for kind in KINDS if KINDS[kind][0] == path)
    whole, *parts = (trainer_of(kind, ranks) for ranks in (ALONE, *PAIR))
    turn = whole.plan.turns[0]
    batches = whole.feed.batches(turn)
    for draw, fields in batches.items():
        assert all(len(field) == whole.plan.draw(draw).batch_size for field in fields.values())
    found = [it.feed.batches(turn) for it in parts]
    for draw, fields in batches.items():
        for name, field in fields.items():
            assert torch.equal(torch.cat([one[draw][name] for one in found]), field)
    joined_at = {
        critic.evaluation.name: [whole.plan.draw(name).batch_size for name in critic.draws]
        for critic in turn.passes_of("scored")
    }
    noise, (first, second) = whole.noise.of(turn), (it.noise.of(turn) for it in parts)
    for site, drawn in noise.items():
        batches_of_site = next(
            (sizes for name, sizes in joined_at.items() if site.startswith(f"{name}/")), [len(drawn)]
        )
        halves = [size // 2 for size in batches_of_site]
        pairs = zip(first[site].split(halves), second[site].split(halves), strict=True)
        assert torch.equal(torch.cat([half for pair in pairs for half in pair]), drawn)


@pytest.mark.parametrize(
    ("path", "overrides", "size", "message"),
    [
        (TINY, (), 3, "a batch of 40 (`q`) cannot be shared evenly by 3 processes; start 2 processes, "
         "or take another batch with `--set training.batch_size=39`"),
        (TINY, ("training.batch_size=41",), 2, "a batch of 41 (`q`) cannot be shared evenly by 2 processes; "
         "start 1 process, or take another batch with `--set training.batch_size=40`"),
        (TINY, ("training.batch_size=6",), 64, "a batch of 6 (`q`) cannot be shared evenly by 64 processes; "
         "start 6 processes, or take another batch with `--set training.batch_size=64`"),
        (LABELED, ("training.batch_size={default: 40, q_labeled: 8, p_labeled: 8}",), 10,
         "a batch of 8 (`q_labeled`) cannot be shared evenly by 10 processes; start 8 processes"),
    ],
)  # fmt: skip
def test_a_batch_that_cannot_be_shared_is_refused_with_numbers_that_can(
    path: Path, overrides: tuple[str, ...], size: int, message: str
) -> None:
    with pytest.raises(RunError) as error:
        shard(plan_of(path, *overrides), size)
    assert str(error.value) == message


def test_batch_norm_of_a_process_needs_two_of_its_examples() -> None:
    statistics, batch = "training.batchnorm.statistics", "training.batch_size"
    with pytest.raises(RunError) as error:
        shard(plan_of(TINY, f"{statistics}=process", f"{batch}=4"), 4)
    assert str(error.value) == (
        "of a batch of 4 (`p`) each of 4 processes takes one example, which has no variance for batch norm of "
        "`decoder.h`; double the batch, or take statistics over all processes with "
        "`--set training.batchnorm.statistics=batch`"
    )
    shard(plan_of(TINY, f"{statistics}=process", f"{batch}=8"), 4)
    shard(plan_of(TINY, f"{statistics}=batch", f"{batch}=4"), 4)
    with pytest.raises(RunError, match=r"or take another batch with `--set training\.batch_size=128`"):
        shard(plan_of(TINY, f"{statistics}=process", f"{batch}=6"), 64)


def test_a_shared_plan_differs_in_its_batches_alone() -> None:
    plan = plan_of(TINY)
    part = shard(plan, 4)
    assert [draw.batch_size for draw in part.draws] == [10, 10]
    assert [found.batch for found in part.turns[0].passes] == [found.batch // 4 for found in plan.turns[0].passes]
    whole = replace(part, draws=plan.draws, turns=(replace(part.turns[0], passes=plan.turns[0].passes),))
    assert (whole, part.epoch_batch) == (plan, 40)
    assert shard(plan, 1) == plan


# ------------------------------------------------------------------------------------------------ who this process is


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (None, "1"):  # torchrun with one process
        monkeypatch.delenv("WORLD_SIZE", raising=False) if size is None else monkeypatch.setenv("WORLD_SIZE", size)
        with joined() as ranks:
            assert ranks == ALONE
            assert ranks.first
            assert ranks.any(True)
            assert not ranks.any(False)


def test_half_of_what_torchrun_sets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(RunError) as error, joined():
        pass
    assert str(error.value) == "WORLD_SIZE is 4, but RANK, MASTER_ADDR, MASTER_PORT is not set; start with `torchrun`"


@pytest.mark.parametrize(
    ("name", "cuda", "expected"),
    [("cpu", True, "cpu"), ("auto", False, "cpu"), ("auto", True, "cuda:1"), ("cuda", True, "cuda:1")],
)
def test_each_process_has_a_device_of_its_own(
    name: str, cuda: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert Ranks(5, 8, local_rank=1, local_size=4).device(name) == (name if expected == "cpu" else expected)
    assert ALONE.device(name) == name


def test_processes_do_not_share_a_cuda_device() -> None:
    with pytest.raises(RunError, match="2 processes cannot share the device `cuda:1`; leave it out, or say `cuda`"):
        Ranks(0, 2).device("cuda:1")


def test_the_command_that_starts_as_many_processes_again() -> None:
    words = ["train", "an a.yaml"]
    assert ALONE.command(*words) == "ammgraph train 'an a.yaml'"
    assert Ranks(0, 2, 0, 2).command(*words) == (
        "torchrun --standalone --nproc-per-node=2 -m ammgraph train 'an a.yaml'"
    )
    assert Ranks(0, 4, 0, 2).command(*words) == "torchrun ... -m ammgraph train 'an a.yaml'"


def test_a_term_of_a_mean_over_the_batch_says_that_each_process_takes_its_own() -> None:
    assert divided_means(plan_of(INFORMED), 2) == [
        "warning: term `features` takes means over a batch; each of 2 processes takes them over its own part"
    ]
    assert [line.partition("`")[2].partition("`")[0] for line in divided_means(plan_of(TERMS), 4)] == ["classes"]
    assert divided_means(plan_of(TINY), 2) == []
    # max((0.2 + 0.8) / 2, 0.5) is not (max(0.2, 0.5) + max(0.8, 0.5)) / 2; of each example it is the same
    for floor, told in {"max(E[q] H(c(y|x)), 0.5)": ["classes"], "E[q] max(H(c(y|x)), 0.5)": []}.items():
        said = divided_means(plan_of(TERMS, f"terms.classes.minimize={floor}"), 2)
        assert [line.partition("`")[2].partition("`")[0] for line in said] == told


def test_a_pass_at_no_draw_s_samples_has_one_example_in_every_process() -> None:
    prior = (
        "networks.prior={layers: {a: {input: zeros(1), op: linear, channels: 10}, y: {input: a, activation: softmax}}}"
    )
    learned = "distributions.p={p(y): prior.y, p(z): normal, 'p(x|y,z)': decoder.x}"
    whole = plan_of(TERMS, prior, learned, "terms.classes.minimize=KL(E[q] c(y|x) || p(y))")
    asked = {found.evaluation.name: found.batch for found in shard(whole, 4).turns[0].passes_of("asked")}
    assert (asked["/prior"], asked["q/classifier"]) == (1, 10)
