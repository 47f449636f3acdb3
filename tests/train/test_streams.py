"""Batches and noise: right, each from a stream of its own, or an error with advice."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CPU, LABELED, TINY, data_of, differences, plan_of, trainer_of

from ammgraph.data.dataset import Dataset
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError
from ammgraph.nn.model import build
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import counted_labels
from ammgraph.train.streams import PURPOSES, Feed, Noise, initial_model, stream_seed
from ammgraph.train.trainer import Trainer


def feed_of(path: Path, *overrides: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> Feed:
    return Feed(plan_of(path, *overrides), data_of(path, *overrides), seed, CPU, dtype)


def noise_of(plan: Plan, seed: int = 0) -> Noise:
    return Noise(plan, seed, CPU, torch.float32)


# ------------------------------------------------------------------------------------------------ seeds


def test_every_purpose_and_index_and_seed_has_a_seed_of_its_own() -> None:
    seeds = [stream_seed(seed, purpose, index) for seed in range(20) for purpose in PURPOSES for index in range(5)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_seeds_of_the_streams_never_change() -> None:
    """A purpose may be appended; another order would train every run anew."""
    assert PURPOSES[:7] == ("initialization", "data", "prior", "sample", "dropout", "penalty", "evaluation")
    assert [stream_seed(0, purpose) for purpose in PURPOSES[:3]] == [
        6375474604893067239,
        8514611595815388268,
        6745496412263418813,
    ]


@pytest.mark.parametrize("path", [TINY, LABELED])
def test_one_seed_gives_one_run_and_another_seed_another(path: Path) -> None:
    first, again, other = (trainer_of(path, seed=seed) for seed in (3, 3, 4))
    for it in (first, again, other):
        it.advance()
    assert differences(first.state_dict(), again.state_dict()) == []
    places = differences(first.state_dict(), other.state_dict())
    assert all(any(place.startswith(part) for place in places) for part in ("/model", "/feed", "/noise", "/optimizers"))


def test_initialisation_data_and_noise_each_depend_on_the_seed() -> None:
    plan, dataset = plan_of(TINY), data_of(TINY)
    models = [build(plan, torch.Generator().manual_seed(stream_seed(seed, "initialization"))) for seed in (0, 1)]
    weights = [dict(model.state_dict()) for model in models]
    assert len([name for name in differences(*weights) if name.endswith("weight")]) == 10  # every layer
    turn = plan.turns[0]
    first, other = (Feed(plan, dataset, seed, CPU, torch.float32).batches(turn)["q"]["x"] for seed in (0, 1))
    assert not torch.equal(first, other)
    noises = [noise_of(plan, seed).of(turn) for seed in (0, 1)]
    assert len(differences(*noises)) == len(turn.sites)


def test_noise_of_one_purpose_moves_no_other() -> None:
    plan = plan_of(TINY)
    turn = plan.turns[0]
    assert {site.stream for site in turn.sites} == {"prior", "sample", "dropout", "penalty"}
    whole = noise_of(plan)
    expected = [whole.of(turn), whole.of(turn)]
    for stream in ("prior", "sample", "dropout", "penalty"):
        without = replace(turn, sites=tuple(site for site in turn.sites if site.stream != stream))
        rest = noise_of(plan)
        for values in expected:
            found = rest.of(without)
            assert set(values) - set(found) == {site.name for site in turn.sites if site.stream == stream}
            assert all(torch.equal(found[name], values[name]) for name in found)


def test_another_stream_of_data_moves_no_earlier_one() -> None:
    """The labelled game adds a stream; the images of the first are the same ones in the same order."""
    plain, more = feed_of(TINY), feed_of(LABELED)
    for _ in range(3):
        first = plain.batches(plan_of(TINY).turns[0])["q"]["x"]
        second = more.batches(plan_of(LABELED).turns[0])["q_unlabeled"]["x"]
        assert torch.equal(first, second)


def test_networks_added_or_changed_do_not_move_data_or_noise() -> None:
    wider = "networks.critic.layers.hx.channels=24"
    first, second = trainer_of(TINY), trainer_of(TINY, wider)
    turn, wide = first.plan.turns[0], second.plan.turns[0]
    assert differences(first.feed.batches(turn), second.feed.batches(wide)) == []
    one, two = first.noise.of(turn), second.noise.of(wide)
    same = {site.name for site in turn.sites if site.stream in ("prior", "sample")}
    assert all(torch.equal(one[name], two[name]) for name in same)
    assert one["joint/critic/h.mask"].shape != two["joint/critic/h.mask"].shape  # h drops the wider row's elements


def test_noise_that_is_not_due_or_was_drawn_before_is_not_drawn() -> None:
    plan = plan_of(TINY, "games.joint.gradient_penalty.every=3")
    (turn,) = plan.turns
    lazy = {site.name for site in turn.sites if site.stream == "penalty"}
    everything = {site.name for site in turn.sites}
    noise = noise_of(plan)
    assert [set(noise.of(turn, step)) for step in range(4)] == [
        everything,
        everything - lazy,
        everything - lazy,
        everything,
    ]
    before = noise.state_dict()
    assert noise.of(turn, 0, everything) == {}
    assert differences(noise.state_dict(), before) == []
    assert set(noise.of(turn, 0, everything - {"p/y"})) == {"p/y"}


def test_all_noise_is_new_at_every_step() -> None:
    plan = plan_of(TINY)
    noise = noise_of(plan)
    first, second = noise.of(plan.turns[0]), noise.of(plan.turns[0])
    assert len(differences(first, second)) == len(first) == len(plan.turns[0].sites)


# ------------------------------------------------------------------------------------------------ batches


def places_in(images: torch.Tensor, dataset: Dataset) -> list[int]:
    """The position in the training data of every image of a batch in [0, 1]."""
    table = {(image.float() / 255).numpy().tobytes(): index for index, image in enumerate(dataset.train.images)}
    return [table[image.contiguous().numpy().tobytes()] for image in images]


def test_an_epoch_takes_every_image_once() -> None:
    feed, dataset, turn = feed_of(TINY), data_of(TINY), plan_of(TINY).turns[0]
    assert feed.steps_per_epoch((turn,)) == 40
    for _ in range(2):
        epoch = [place for _ in range(40) for place in places_in(feed.batches(turn)["q"]["x"], dataset)]
        assert sorted(epoch) == list(range(1600))


def test_labels_are_one_hot_and_those_of_their_images() -> None:
    feed, dataset, turn = feed_of(LABELED), data_of(LABELED), plan_of(LABELED).turns[0]
    for _ in range(3):
        batch = feed.batches(turn)["q_labeled"]
        assert batch["y"].shape == (40, 10, 1, 1)
        assert batch["y"].dtype == torch.float32
        assert torch.equal(batch["y"].sum(1).flatten(), torch.ones(40))
        assert set(batch["y"].flatten().tolist()) == {0.0, 1.0}
        places = places_in(batch["x"], dataset)
        assert sorted(places) == sorted(dataset.labeled.tolist() * 2)  # a batch of 40 takes each of the 20 twice
        assert batch["y"].flatten(1).argmax(1).tolist() == dataset.train.labels[places].tolist()


def test_the_unlabelled_part_is_the_complement_of_the_labelled() -> None:
    spec = "distributions.q_unlabeled={q(x): data.unlabeled, q(y|x): encoder.y, q(z|x): encoder.z}"
    plan, dataset = plan_of(LABELED, spec), data_of(LABELED)
    feed = Feed(plan, dataset, 0, CPU, torch.float32)
    assert feed.steps_per_epoch(plan.turns) == 39  # 1,580 images in batches of 40
    seen = {place for _ in range(39) for place in places_in(feed.batches(plan.turns[0])["q_unlabeled"]["x"], dataset)}
    assert len(seen) == 39 * 40
    assert not seen & set(dataset.labeled.tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_are_in_the_range_of_the_variable(dtype: torch.dtype) -> None:
    plan = plan_of(TINY, "variables.x.range=[-1, 1]", "networks.decoder.layers.x.activation=tanh")
    wide = Feed(plan, data_of(TINY), 0, CPU, dtype).batches(plan.turns[0])["q"]["x"]
    plain = feed_of(TINY, dtype=dtype).batches(plan_of(TINY).turns[0])["q"]["x"]
    assert wide.dtype == plain.dtype == dtype
    assert (float(wide.min()), float(wide.max())) == (-1, 1)
    assert (float(plain.min()), float(plain.max())) == (0, 1)
    torch.testing.assert_close(wide, 2 * plain - 1)


def test_batches_have_the_size_of_their_distribution() -> None:
    sizes = "training.batch_size={default: 40, q_labeled: 10, p_labeled: 10}"
    batches = feed_of(LABELED, sizes).batches(plan_of(LABELED, sizes).turns[0])
    assert {name: len(values["x"]) for name, values in batches.items()} == {"q_unlabeled": 40, "q_labeled": 10}


def test_the_empirical_prior_counts_the_labelled_examples() -> None:
    assert counted_labels(plan_of(LABELED)) == {"y": ""}
    assert counted_labels(plan_of(TINY)) == {}
    model = initial_model(plan_of(LABELED), 0, data_of(LABELED))
    assert model.constant("p_unlabeled/y").tolist() == pytest.approx([0.1] * 10)


def test_an_empirical_prior_has_a_category_for_every_class(tmp_path: Path) -> None:
    labels = np.arange(40) % 5
    np.savez(tmp_path / "a.npz", x_train=np.full((40, 8, 8), 200, np.uint8), y_train=labels)
    data = f"data={{dataset: npz, path: {tmp_path}/a.npz, labeled: {{count: 20, choice: balanced}}}}"
    few, more = (("distributions.p.p(y)=empirical", data, f"constants.K={size}") for size in (4, 7))
    message = "`y` has 4 categories, and `p(y): empirical` counts the labels of 5 classes; it needs at least as many"
    with pytest.raises(RunError, match=re.escape(message)):
        initial_model(plan_of(TINY, *few), 0, data_of(TINY, *few))
    frequencies = initial_model(plan_of(TINY, *more), 0, data_of(TINY, *more)).constant("p/y").tolist()
    assert frequencies == pytest.approx([0.2] * 5 + [0.0] * 2)


# ------------------------------------------------------------------------------------------------ errors


COUNTED = ("data.labeled={count: 100, choice: random}", "distributions.p.p(y)=empirical", "constants.K=12")


@pytest.mark.parametrize(
    ("term", "infinite"),
    [
        ("E[q] KL(q(y|x) || p(y))", True),
        ("-E[q] log p(y)", True),
        ("-E[p] log p(y) + KL(p(y) || E[q] q(y|x))", False),
    ],
)
def test_the_log_of_a_class_that_no_label_has_is_an_error_with_advice(term: str, infinite: bool) -> None:
    given = (*COUNTED, f"terms.more={{minimize: '{term}'}}")
    if not infinite:
        feed_of(TINY, *given)
        return
    with pytest.raises(RunError) as error:
        feed_of(TINY, *given)
    assert str(error.value) == (
        "term `more` is infinite: the prior `empirical` of `y` gives probability 0 to a category, of which there is "
        "no labelled example; write `uniform`, or probabilities above 0, in its place"
    )
    feed_of(TINY, *given, "distributions.p.p(y)=uniform", "data.labeled=null")


def test_a_batch_that_is_larger_than_the_data_is_an_error_with_advice() -> None:
    with pytest.raises(RunError) as error:
        feed_of(TINY, "training.batch_size=1601")
    assert str(error.value) == (
        "a batch of 1601 is larger than data, which has 1,600 examples; lower it with `--set training.batch_size=1600`"
    )
    whole = "training.batch_size=1600"
    assert feed_of(TINY, whole).steps_per_epoch(plan_of(TINY, whole).turns) == 1


def test_a_single_image_is_no_batch_where_batch_norm_needs_two() -> None:
    train = data_of(TINY).train
    split = Split(train.images[:1], train.labels[:1])
    single = replace(data_of(TINY), train=split, labeled=torch.tensor([0]))
    for overrides, advice in (
        ((), "batch norm needs two or more"),
        (("networks.decoder.layers.h.batchnorm=false",), "lower it with `--set training.batch_size=1`"),
    ):
        with pytest.raises(RunError) as error:
            Feed(plan_of(TINY, *overrides), single, 0, CPU, torch.float32)
        assert str(error.value) == f"a batch of 40 is larger than data, which has 1 example; {advice}"
    trainer = Trainer(plan_of(TINY, *overrides, "training.batch_size=1"), single, 0, CPU)
    trainer.advance()


def test_an_empty_source_is_an_error() -> None:
    spec = "distributions.q_unlabeled={q(x): data.unlabeled, q(y|x): encoder.y, q(z|x): encoder.z}"
    every = "data.labeled={count: all}"
    with pytest.raises(RunError, match=r"^`q_unlabeled` draws from data\.unlabeled, which is empty: scikit-learn's"):
        feed_of(LABELED, spec, every)


def test_images_of_another_shape_are_an_error_with_advice() -> None:
    dataset = data_of(TINY)
    large = replace(dataset, train=Split(torch.zeros(1600, 3, 9, 8, dtype=torch.uint8), dataset.train.labels))
    with pytest.raises(RunError) as error:
        Feed(plan_of(TINY), large, 0, CPU, torch.float32)
    assert str(error.value) == (
        "`x` has shape [1, 8, 8], but the images of digits have [3, 9, 8]; "
        "change the variable's shape and the networks that read or draw it"
    )


def test_fewer_categories_than_classes_are_an_error_with_advice() -> None:
    more = replace(data_of(LABELED), classes=tuple("0123456789ab"))
    with pytest.raises(RunError) as error:
        Feed(plan_of(LABELED), more, 0, CPU, torch.float32)
    assert str(error.value) == (
        "`y` has 10 categories, but digits has 12 classes; a labelled variable needs at least as many"
    )
    Feed(plan_of(TINY), more, 0, CPU, torch.float32)  # no distribution takes labels
