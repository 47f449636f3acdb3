"""A run that is opened at its newest checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from tiny import CPU

import ammgraph
from ammgraph.api.steps import resumed_training
from ammgraph.runs.run import Place, read_options

VECTORS = Path(__file__).parent.parent / "tiny_vectors.yaml"


@pytest.mark.parametrize("named", [False, True])
def test_with_other_data_vectors_are_scaled_as_when_the_run_began(named: bool, tmp_path: Path) -> None:
    x = load_wine().data
    data = {"dataset": "npz", "path": str(tmp_path / "x.npz")}
    changes = [f"data={json.dumps({'wine': data} if named else data)}"]
    if named:
        changes.append("distributions.q={q(x): data.wine, q(y|x): encoder.y, 'q(z|x,y)': encoder.z}")
    np.savez(tmp_path / "x.npz", x_train=x)
    spec = ammgraph.load_spec(VECTORS, [*changes, "training.steps=2"])
    run = ammgraph.fit(spec, run_dir=tmp_path / "run", device="cpu")
    began = read_options(run.folder).every_scaling
    np.savez(tmp_path / "x.npz", x_train=3 * x + 5)
    with pytest.raises(ammgraph.RunError, match="take `data_sha256` out of"):
        run.resume(["training.steps=4"], device="cpu")
    options = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(options | {"data_sha256": None}))
    settings = read_options(run.folder)
    with resumed_training(run.folder, settings, ["training.steps=4"], Place(CPU)) as training:
        assert dict(training.dataset.scalings) == began == settings.every_scaling
        expected = (3 * x + 5 - x.mean(0)) / x.std(0)
        found = training.dataset.train.points.double()
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)
