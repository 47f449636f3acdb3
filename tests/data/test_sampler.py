import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ammgraph.data.sampler import Sampler
from ammgraph.diagnostics import RunError


def test_a_pass_is_disjoint_batches_and_drops_the_rest():
    sampler = Sampler(torch.arange(100, 110), 3, seed=0)
    assert sampler.batches_per_pass == 3
    for _ in range(4):
        batches = torch.cat([next(sampler) for _ in range(3)])
        assert len(set(batches.tolist())) == 9
        assert set(batches.tolist()) <= set(range(100, 110))


def test_passes_differ_and_drop_different_rests():
    sampler = Sampler(torch.arange(10), 3, seed=0)
    passes = [frozenset(torch.cat([next(sampler) for _ in range(3)]).tolist()) for _ in range(30)]
    assert len(set(passes)) == 10  # every position is left out at some time


def test_a_batch_that_divides_the_positions_gives_all_of_them():
    sampler = Sampler(torch.arange(12), 4, seed=0)
    assert sorted(torch.cat([next(sampler) for _ in range(3)]).tolist()) == list(range(12))


@pytest.mark.parametrize(("count", "batch"), [(3, 7), (1, 5), (4, 8), (99, 100)])
def test_fewer_positions_than_a_batch_are_drawn_evenly(count, batch):
    sampler = Sampler(torch.arange(count), batch, seed=0)
    assert sampler.batches_per_pass == 1
    drawn = torch.cat([next(sampler) for _ in range(count)])
    assert torch.bincount(drawn, minlength=count).tolist() == [batch] * count
    for permutation in drawn.split(count):
        assert sorted(permutation.tolist()) == list(range(count))


def test_the_seed_decides_and_torchs_own_generator_is_untouched():
    def draw(seed):
        sampler = Sampler(torch.arange(50), 50, seed=seed)
        return next(sampler).tolist()

    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert torch.equal(torch.get_rng_state(), state)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 30), st.integers(0, 2**31))
def test_resuming_goes_on_with_the_same_batches(count, batch, steps, seed):
    sampler = Sampler(torch.arange(count), batch, seed)
    for _ in range(steps):
        next(sampler)
    stream = io.BytesIO()
    torch.save(sampler.state_dict(), stream)
    expected = [next(sampler).tolist() for _ in range(20)]

    stream.seek(0)
    resumed = Sampler(torch.arange(count), batch, seed=seed + 1)
    resumed.load_state_dict(torch.load(stream, weights_only=True))
    assert [next(resumed).tolist() for _ in range(20)] == expected


def test_a_state_does_not_move_with_its_sampler():
    sampler = Sampler(torch.arange(9), 2, seed=0)
    state = sampler.state_dict()
    first = [next(sampler).tolist() for _ in range(9)]
    sampler.load_state_dict(state)
    assert [next(sampler).tolist() for _ in range(9)] == first


@pytest.mark.parametrize("positions", [torch.arange(8), torch.arange(1, 10)])
def test_a_state_of_other_positions_is_refused(positions):
    state = Sampler(positions, 2, seed=0).state_dict()
    with pytest.raises(RunError, match=f"draws from {len(positions)} examples, this run from 9"):
        Sampler(torch.arange(9), 2, seed=0).load_state_dict(state)


def test_a_generator_of_another_kind_of_device_is_refused():
    sampler = Sampler(torch.arange(9), 2, seed=0)
    state = sampler.state_dict() | {"generator": torch.zeros(16, dtype=torch.uint8)}  # a CUDA generator's size
    with pytest.raises(RunError, match="is not of a cpu device"):
        sampler.load_state_dict(state)


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="from 0 positions"):
        Sampler(torch.arange(0), 2, seed=0)
    with pytest.raises(ValueError, match="batches of 0"):
        Sampler(torch.arange(3), 0, seed=0)
