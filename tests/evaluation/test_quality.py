"""Scores of samples: near 0 for equal sets, larger the farther, the same for a seed, and never under a false name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_loading import fingerprint
from tiny import CPU, FOLDER, HERE, LABELS_ON_BOTH_SIDES, TINY, data_of
from tiny_runs import make_run
from torch import Tensor

from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import classifier as module
from ammgraph.evaluation import fidelity
from ammgraph.evaluation.classifier import Classifier, cached_classifier, digest, error_of, train_classifier
from ammgraph.evaluation.fidelity import Generator, Images, to_uint8
from ammgraph.evaluation.loading import LoadedRun, load_run
from ammgraph.evaluation.quality import QualityOptions, check_generates, measure_quality
from ammgraph.evaluation.results import Result
from ammgraph.evaluation.score import evaluate_run
from ammgraph.nn.model import build
from ammgraph.plan.queries import record_fields
from ammgraph.spec.load import load_spec

SPECS = Path(__file__).parents[2] / "specs"
FIELDS = FOLDER / "tiny_fields.yaml"  # a grey image and one of three colours


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


@pytest.fixture(scope="module", autouse=True)
def fewer_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS", 200)
        yield


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> LoadedRun:
    return load_run(tiny_folder, HERE)


def by_name(found: list[Result]) -> dict[str, Result]:
    return {result.name: result for result in found}


# --------------------------------------------------------------------------------------------------- the classifier


@pytest.fixture(scope="module")
def trained(cache: Path):
    data = data_of(TINY)
    assert data.validation is not None
    return cached_classifier(data.train, 10, ("validation", data.validation), 0, cache, CPU)


def test_the_classifier_learns_digits(trained) -> None:
    assert trained.error < 0.1
    assert (trained.examples, trained.split) == (197, "validation")
    assert trained.error == error_of(trained.network, data_of(TINY).validation)


def test_its_features_have_mean_0_and_deviation_1(trained) -> None:
    features, logits = trained.network(data_of(TINY).train.images.float() / 255)
    assert features.shape == (1600, 64)
    assert logits.shape == (1600, 10)
    assert features.mean(0).abs().max() < 1e-4
    deviation = features.std(0)
    assert ((deviation - 1).abs() < 0.01).float().mean() > 0.5
    assert deviation.max() < 1.01


def test_it_is_trained_once_for_the_same_data_and_seed(trained, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(TINY)
    monkeypatch.setattr(module, "train_classifier", lambda *_: pytest.fail("trained again"))
    again = cached_classifier(data.train, 10, ("validation", data.validation), 0, cache, CPU)
    assert again.error == trained.error
    assert all(torch.equal(a, b) for a, b in zip(again.network.parameters(), trained.network.parameters(), strict=True))
    with pytest.raises(pytest.fail.Exception):
        cached_classifier(data.train, 10, ("validation", data.validation), 1, cache, CPU)
    with pytest.raises(pytest.fail.Exception):
        cached_classifier(data.train.at(torch.arange(1599)), 10, ("validation", data.validation), 0, cache, CPU)


def test_a_damaged_file_of_the_cache_is_replaced(trained, tmp_path: Path) -> None:
    data = data_of(TINY)
    path = tmp_path / trained.path.name
    path.write_bytes(b"damaged")
    again = cached_classifier(data.train, 10, ("validation", data.validation), 0, tmp_path, CPU)
    assert again.path == path
    assert again.error == trained.error
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_training_is_decided_by_its_seed_and_moves_no_global_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 3)
    before = torch.get_rng_state()
    first, same, other = (train_classifier(data_of(TINY).train, 10, seed, CPU) for seed in (0, 0, 1))
    assert torch.equal(first.features.weight, same.features.weight)
    assert not torch.equal(first.features.weight, other.features.weight)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 32, 32), (1, 28, 28), (2, 5, 9)])
def test_any_size_of_image_will_do(shape: tuple[int, ...]) -> None:
    features, logits = Classifier(shape[0], 3)(torch.rand(2, *shape))
    assert (features.shape, logits.shape) == ((2, 64), (2, 3))


def test_the_digest_tells_data_apart() -> None:
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    splits = [
        Split(images, torch.tensor([0, 1])),
        Split(images, torch.tensor([1, 0])),
        Split(images + 1, torch.tensor([0, 1])),
    ]
    splits.append(Split(images.view(2, 1, 4, 1), torch.tensor([0, 1])))
    assert len({digest(split) for split in splits}) == 4
    assert digest(splits[0]) == digest(Split(images.clone(), torch.tensor([0, 1])))


# --------------------------------------------------------------------------------------------------- distances


def distances(trained, first: Tensor, second: Tensor) -> dict[str, float]:
    fidelity.use_extractors()
    return fidelity.calculate_metrics(
        input1=Images(first, False),
        input2=Images(second, False),
        fid=True,
        kid=True,
        prc=True,
        isc=True,
        kid_subsets=5,
        kid_subset_size=200,
        feature_extractor=fidelity.CLASSIFIER,
        feature_extractor_weights_path=str(trained.path),
        cuda=False,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )


def test_equal_sets_have_no_distance_and_shifted_ones_have_more_the_farther(trained) -> None:
    images = data_of(TINY).train.images[:800]
    same = distances(trained, images, images)
    shifted = distances(trained, images.roll(1, dims=3), images)
    noise = torch.randint(0, 256, images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    far = distances(trained, noise, images)
    fid = "frechet_inception_distance"
    assert abs(same[fid]) < 1e-3
    assert 1 < shifted[fid] < far[fid]
    kid = "kernel_inception_distance_mean"
    assert abs(same[kid]) < 0.05 * shifted[kid]
    assert (same["precision"], same["recall"]) == (1, 1)
    assert far["precision"] < shifted["precision"] < 1


def test_the_frechet_distance_is_that_of_two_normals(trained) -> None:
    images = data_of(TINY).train.images
    with torch.no_grad():
        first, second = (trained.network(part.float() / 255)[0].double() for part in (images[:700], images[700:1500]))
    difference = float((first.mean(0) - second.mean(0)).square().sum())
    a, b = first.T.cov().numpy(), second.T.cov().numpy()
    values, vectors = np.linalg.eigh(a)
    root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    between = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    expected = difference + np.trace(a) + np.trace(b) - 2 * between
    found = distances(trained, images[:700], images[700:1500])["frechet_inception_distance"]
    assert found == pytest.approx(expected, rel=1e-3)


# --------------------------------------------------------------------------------------------------- the generator


def test_a_learned_mixture_is_a_function_of_normal_numbers(loaded: LoadedRun) -> None:
    generator = Generator(loaded.model, loaded.plan, loaded.plan.draw("p"), "x", rgb=False)
    assert (generator.z_size, generator.z_type, generator.num_classes) == (1 + 4, "normal", 0)
    z = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0))
    images = generator(z)
    assert (images.dtype, images.shape) == (torch.uint8, (4000, 1, 8, 8))
    assert torch.equal(generator(z), images)


def test_categories_come_as_often_as_their_prior_says() -> None:
    plan = compile_spec(
        load_spec(
            TINY,
            [
                "distributions.p={p(y): [0.7, 0.1, 0, 0, 0, 0, 0, 0, 0, 0.2], "
                + "p(z|y): components.z, 'p(x|y,z)': decoder.x}"
            ],
        )
    )
    model = build(plan, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.network("decoder").parameters():
            parameter.zero_()
        first, last = model.network("decoder").row("h"), model.network("decoder").row("x")
        assert first.weight is not None
        assert last.weight is not None
        assert first.gain is not None
        first.gain.fill_(1.0)
        first.weight[0, 0], first.weight[0, 9] = 5.0, -5.0
        last.weight[0] = 2.0
    generator = Generator(model, plan, plan.draw("p"), "x", rgb=False)
    mean = generator(torch.randn(20_000, 5, generator=torch.Generator().manual_seed(1))).float().mean((1, 2, 3))
    shares = [float(part.float().mean()) for part in (mean > 200, mean < 110, (mean > 120) & (mean < 135))]
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.015)  # four standard errors


def test_uniform_and_gumbel_numbers_are_made_of_normal_ones() -> None:
    z = torch.randn(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    uniform, gumbel = fidelity._from_normal("uniform", z), fidelity._from_normal("gumbel", z)
    assert 0 < uniform.min() < uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=0.004)
    assert uniform.std() == pytest.approx(12**-0.5, abs=0.003)
    assert gumbel.mean() == pytest.approx(0.5772, abs=0.02)
    assert torch.isfinite(fidelity._from_normal("gumbel", torch.tensor([-60.0, 60.0]))).all()


def test_images_as_torch_fidelity_wants_them() -> None:
    assert to_uint8(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1), False).flatten().tolist() == [0, 128, 255]
    assert to_uint8(torch.rand(2, 1, 4, 4), True).shape == (2, 3, 4, 4)
    assert to_uint8(torch.rand(2, 3, 4, 4), True).shape == (2, 3, 4, 4)
    stored = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    assert torch.equal(torch.stack([Images(stored, False)[i] for i in range(3)]), stored)


# --------------------------------------------------------------------------------------------------- all together


def test_every_score_has_its_extractor_in_its_name(loaded: LoadedRun, cache: Path, trained) -> None:
    options = QualityOptions(count=300, cache=cache)
    arguments = loaded.model, loaded.plan, loaded.dataset, "train", loaded.dataset.train
    found = by_name(measure_quality(*arguments, options))
    assert list(found) == [f"{name}(classifier)" for name in ("FID", "KID", "IS", "precision", "recall")]
    for result in found.values():
        assert (result.examples, result.split, result.part, result.variable) == (300, "train", "quality", "x")
        assert result.by.startswith("300 samples of p(y) p(z|y) p(x|y,z), seed 0, by torch-fidelity 0.")
        assert "features: classifier v1 of digits, trained on 1,600 labelled images, seed 0, error " in result.by
        assert result.by.endswith(" % on 197 validation images")
    assert found["FID(classifier)"].value > 1
    assert found["KID(classifier)"].protocol == "100 subsets of 300"
    assert found["KID(classifier)"].std is not None
    assert 1 <= found["IS(classifier)"].value <= 10
    assert by_name(measure_quality(*arguments, options)) == found
    other = by_name(measure_quality(*arguments, QualityOptions(count=301, cache=cache)))
    assert other["FID(classifier)"].value != found["FID(classifier)"].value


def test_an_evaluation_with_quality(tiny_run: Path, cache: Path) -> None:
    before = fingerprint(tiny_run)
    evaluation = evaluate_run(tiny_run, HERE, baseline=False, quality=QualityOptions(count=50, cache=cache))
    assert evaluation.find("FID(classifier)").examples == 50
    assert evaluation.find("FID") is None
    assert fingerprint(tiny_run).keys() - before.keys() == {"evaluation.json"}
    again = evaluate_run(tiny_run, HERE, baseline=False)
    assert again.find("FID(classifier)") == evaluation.find("FID(classifier)")


def test_weights_that_are_not_inception_s(loaded: LoadedRun, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save(Path, tmp_path / "code.pth")
    for name, message in (
        ("nowhere.pth", "cannot read the Inception weights"),
        ("text.pth", "holds no weights"),
        ("code.pth", "holds no weights"),
        ("other.pth", "holds other weights than Inception's"),
    ):
        with pytest.raises(RunError, match=message):
            measure_quality(
                loaded.model,
                loaded.plan,
                loaded.dataset,
                "train",
                loaded.dataset.train,
                QualityOptions(count=50, weights=tmp_path / name),
            )


def test_inception_is_called_inception(loaded: LoadedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def calculate(**settings: object) -> dict[str, float]:
        asked.update(settings)
        keys = ("frechet_inception_distance", "kernel_inception_distance_mean", "kernel_inception_distance_std")
        return dict.fromkeys((*keys, "inception_score_mean", "inception_score_std", "precision", "recall"), 1.0)

    monkeypatch.setattr(fidelity, "calculate_metrics", calculate)
    torch.save({"Mixed_7c.branch_pool.conv.weight": torch.zeros(1)}, tmp_path / "inception.pth")
    options = QualityOptions(count=50, weights=tmp_path / "inception.pth")
    arguments = loaded.model, loaded.plan, loaded.dataset, "train", loaded.dataset.train
    found = measure_quality(*arguments, options)
    assert found[0].name == "FID(inception, grey as RGB)"
    assert asked["feature_extractor"] == "inception-v3-compat"
    assert asked["feature_extractor_weights_path"] == str(tmp_path / "inception.pth")
    assert asked["input2"][0].shape == (3, 8, 8)
    assert asked["input1"](torch.zeros(2, 5)).shape == (2, 3, 8, 8)


def test_too_few_images(loaded: LoadedRun) -> None:
    with pytest.raises(RunError, match="needs at least 6 samples and as many images"):
        measure_quality(
            loaded.model, loaded.plan, loaded.dataset, "train", loaded.dataset.train, QualityOptions(count=5)
        )


@pytest.mark.parametrize("spec", [FOLDER / "tiny_cycle.yaml", FOLDER / "tiny_vectors.yaml"])
def test_samples_that_are_none_are_told(spec: Path) -> None:
    plan = compile_spec(load_spec(spec))
    with pytest.raises(RunError, match=r"^the quality of samples cannot be measured: no distribution draws an image"):
        check_generates([plan])
    check_generates([plan, compile_spec(load_spec(TINY))])  # of one data set there are


def test_quality_of_samples_of_given_labels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", TINY, *LABELS_ON_BOTH_SIDES)
    assert cli.main(["evaluate", str(run), "--quality"]) == 1
    assert "the quality of samples cannot be measured" in capsys.readouterr().err


def test_each_image_of_a_record_is_compared_with_its_own(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    left, right = random.integers(0, 256, (30, 4, 4), np.uint8), random.integers(0, 256, (30, 5, 5, 3), np.uint8)
    labels = np.arange(30)
    np.savez(tmp_path / "pairs.npz", left=left, right=right, digit=labels % 3, colour=labels % 2)
    plan = compile_spec(load_spec(FIELDS))
    dataset = load_data(plan.data, tmp_path, fields=record_fields(plan))
    model = build(plan, torch.Generator().manual_seed(0))
    compared: list[tuple[Tensor, str]] = []

    def calculate(**settings: Any) -> dict[str, float]:
        images = settings["input2"]
        compared.append(
            (torch.stack([images[i] for i in range(len(images))]), settings["feature_extractor_weights_path"])
        )
        return {"frechet_inception_distance": 1.0}

    monkeypatch.setattr(fidelity, "calculate_metrics", calculate)
    found = measure_quality(model, plan, dataset, "train", dataset.train, QualityOptions(count=30, cache=cache))
    assert [(result.variable, result.by.partition("features: ")[2][:33]) for result in found] == [
        ("x1", "classifier v1 of `left` of npz, t"),
        ("x2", "classifier v1 of `right` of npz, "),
    ]
    (first, its), (second, others) = compared
    assert np.array_equal(first[:, 0].numpy(), left)
    assert np.array_equal(second.numpy(), right.transpose(0, 3, 1, 2))
    assert its != others
