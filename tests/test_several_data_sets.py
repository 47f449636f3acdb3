"""Several data sets in one spec: independent records, each data set with its own options, split and stream."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CPU, TINY, command, differences, environment
from tiny_runs import lines_of

from ammgraph import cli
from ammgraph.api.estimator import Estimator
from ammgraph.api.fit import fit
from ammgraph.api.run import Run
from ammgraph.commands.progress import evaluation_text
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import Dataset, load_data
from ammgraph.diagnostics import RunError, SpecError
from ammgraph.evaluation.loading import load_run
from ammgraph.evaluation.looks import measured
from ammgraph.evaluation.score import scored_split
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import generating_draw, on_data_set, prior_category
from ammgraph.runs import checkpoint
from ammgraph.runs.data import read_data
from ammgraph.runs.run import Place, read_options
from ammgraph.show.difference import differences as changes
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Data
from ammgraph.train.streams import Feed
from ammgraph.train.trainer import Trainer

SPEC = Path(__file__).parent / "tiny_two_data_sets.yaml"
CYCLE = Path(__file__).parent / "tiny_cycle.yaml"
RANDOM = np.random.default_rng(0)
FACES = {"x_train": RANDOM.integers(0, 256, (70, 4, 4), np.uint8), "y_train": np.arange(70) % 3}
FACES |= {"x_test": RANDOM.integers(0, 256, (20, 4, 4), np.uint8), "y_test": np.arange(20) % 3}
SOUNDS = {"x_train": RANDOM.normal(5, 2, (50, 3)), "y_train": np.arange(50) % 2}
SOUNDS |= {"x_test": RANDOM.normal(5, 2, (15, 3)), "y_test": np.arange(15) % 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("data")
    np.savez(found / "faces.npz", **FACES)
    np.savez(found / "sounds.npz", **SOUNDS)
    return found


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(["train", str(SPEC), "--data-dir", str(folder), "--run-dir", str(found), "--log-every", "2"]) == 0
    return found


def plan_of(*overrides: str) -> Plan:
    return compile_spec(load_spec(SPEC, overrides))


def dense(state: Mapping[str, torch.Tensor], network: str, row: str, x: torch.Tensor) -> torch.Tensor:
    """W x + b of a row that is a dense layer, by hand."""
    weight, bias = (
        next(v for name, v in state.items() if f"{network}." in name and name.endswith(f"{row}.{part}"))
        for part in ("weight", "bias")
    )
    return x @ weight.flatten(1).T + bias


def read(folder: Path, *overrides: str) -> tuple[Plan, Dataset]:
    plan = plan_of(*overrides)
    return plan, read_data(plan, folder)


# ------------------------------------------------------------------------------------------------------- what is read


def test_each_data_set_has_its_own_options_and_split(folder: Path) -> None:
    _, dataset = read(folder)
    faces, sounds = dataset.named["faces"], dataset.named["sounds"]
    alone = load_data(Data(dataset="npz", path="sounds.npz", scale="minmax", seed=1, validation=5), folder)
    assert torch.equal(sounds.validation.images, alone.validation.images)
    assert torch.equal(sounds.train.images, alone.train.images)
    assert (len(faces.train), len(faces.validation), len(faces.labeled)) == (60, 10, 12)
    assert (len(sounds.train), len(sounds.validation), len(sounds.labeled)) == (45, 5, 0)
    assert sounds.train.images.amax(0).flatten().tolist() == pytest.approx([1, 1, 1])


def test_records_of_two_data_sets_come_in_orders_of_their_own(folder: Path) -> None:
    plan, dataset = read(folder)
    feed = Feed(plan, dataset, 0, CPU, torch.float64)
    faces, sounds = dataset.named["faces"].train.images, dataset.named["sounds"].train.images
    orders = [[], []]
    for _ in range(2):
        batch = feed.batches(plan.turns[0])
        orders[0] += [
            next(i for i in range(60) if torch.allclose(x, faces[i].double() / 255)) for x in batch["q1"]["x1"]
        ]
        orders[1] += [next(i for i in range(45) if torch.allclose(x, sounds[i].double())) for x in batch["q2"]["x2"]]
        assert batch["q1_labeled"]["y1"].shape == (6, 3, 1, 1)
    assert all(len(set(order)) == 40 for order in orders)  # no record twice in a pass
    assert orders[0] != orders[1]


def test_another_order_of_one_data_set_leaves_the_other_alone(folder: Path) -> None:
    plan, dataset = read(folder)
    more = {"x_train": np.concatenate([SOUNDS["x_train"], SOUNDS["x_train"]]), "y_train": np.arange(100) % 2}
    np.savez(folder / "more.npz", **more)
    other_plan, other = read(folder, "data.sounds.path=more.npz")
    batches = [
        Feed(*of, 0, CPU, torch.float32).batches(of[0].turns[0]) for of in ((plan, dataset), (other_plan, other))
    ]
    assert torch.equal(batches[0]["q1"]["x1"], batches[1]["q1"]["x1"])
    assert not torch.equal(batches[0]["q2"]["x2"], batches[1]["q2"]["x2"])


def test_an_epoch_is_a_pass_of_the_first_data_set(folder: Path) -> None:
    for order, steps in ((("faces", "sounds"), 3), (("sounds", "faces"), 2)):
        sections = load_spec(SPEC).written["data"]
        written = {**load_spec(SPEC).written, "data": {name: sections[name] for name in order}}
        plan = compile_spec(load_spec(written))
        assert str(plan.epoch_source) == f"data.{order[0]}"
        assert Trainer(plan, read_data(plan, folder), 0, CPU).steps_per_epoch == steps


def test_a_data_set_by_its_name_is_trained_as_one_without(tmp_path: Path) -> None:
    one = load_spec(TINY)
    written = json.loads(json.dumps(one.written))
    written["data"] = {"it": written["data"]}
    for factors in written["distributions"].values():
        if isinstance(factors, dict):
            factors.update({head: "data.it" for head, source in factors.items() if source == "data"})
    plans = compile_spec(one), compile_spec(load_spec(written))
    states = []
    for plan in plans:
        trainer = Trainer(plan, read_data(plan, None), 0, CPU)
        for _ in range(2):
            trainer.take_step()
        states.append(trainer.state_dict())
    assert differences(states[0]["model"], states[1]["model"]) == []
    assert plan_hash(plans[0]) != plan_hash(plans[1])


def test_the_examples_of_every_data_set_must_fit_their_variables(folder: Path) -> None:
    with pytest.raises(RunError, match=r"`x2` has size 4, but the vectors of npz have 3"):
        Trainer(*read(folder, "variables.x2.size=4", "networks.decoder.layers.x2.channels=4"), 0, CPU)


def test_what_is_asked_on_one_data_set_needs_no_other() -> None:
    plan = plan_of()
    faces, sounds = on_data_set(plan, "faces"), on_data_set(plan, "sounds")
    assert [found.variable for found in faces.readouts] == ["y1"]
    assert [found.variable for found in sounds.readouts] == ["y2"]
    assert [found.variable for found in sounds.reconstructions] == ["x2"]
    assert sounds.data.scale == "minmax"
    assert [v.name for v in faces.variables if v.observed] == ["x1"]


def test_a_label_of_one_data_set_that_a_prior_draws_for_the_other_is_known_to_both() -> None:
    written = json.loads(json.dumps(load_spec(SPEC).written))
    written["networks"]["decoder"]["layers"]["h2"] = {"input": "h | y1"}
    factors = written["distributions"]["p"]
    factors["p(x2|y1,z)"] = factors.pop("p(x2|y2,z)")
    del written["terms"]
    plan = compile_spec(load_spec(written))
    sounds = on_data_set(plan, "sounds")
    draw = generating_draw(sounds, "x2")
    assert draw is not None
    assert prior_category(sounds, draw, "x2") == "y1"
    assert {variable.name for variable in sounds.variables} == {"x2", "y1", "y2", "z"}


def test_an_example_that_is_rebuilt_through_another_data_sets_keeps_what_rebuilds_it() -> None:
    plan = compile_spec(load_spec(CYCLE))
    photos, drawings = on_data_set(plan, "photos"), on_data_set(plan, "drawings")
    assert [(found.variable, found.infer, found.generate) for found in photos.reconstructions] == [("x1", "q", "p")]
    assert [(found.variable, found.infer, found.generate) for found in drawings.reconstructions] == [("x2", "p", "q")]
    assert [factor.text for factor in photos.draw("p").factors] == ["p(x1|x2)"]  # and no drawing of the data
    assert [generating_draw(part, name) for part in (photos, drawings) for name in ("x1", "x2")] == [None] * 4


# ----------------------------------------------------------------------------------------------------- what is done


def test_a_run_goes_on_with_the_bits_of_one_that_never_stopped(folder: Path, run: Path, tmp_path: Path) -> None:
    parts, stop = tmp_path / "parts", ["--set", "training.epochs=1"]
    arguments = [str(SPEC), "--data-dir", str(folder), "--run-dir", str(parts), "--log-every", "2"]
    assert cli.main(["train", *arguments, *stop]) == 0
    assert cli.main(["train", "--resume", str(parts), "--set", "training.epochs=2"]) == 0
    states = [checkpoint.load_newest(path / "checkpoints")[1] for path in (run, parts)]
    assert differences(*states) == []


def test_data_that_have_moved_are_found_by_their_names(folder: Path, run: Path, tmp_path: Path) -> None:
    for name in ("faces", "sounds"):
        os.link(folder / f"{name}.npz", tmp_path / f"{name}.npz")
    assert read_options(run).data_paths == {"faces": "faces.npz", "sounds": "sounds.npz"}
    loaded = load_run(run, Place(CPU, data_dir=tmp_path))
    assert loaded.warnings == ()


def test_other_data_are_told_by_the_data_set(folder: Path, run: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "faces.npz", **FACES)
    np.savez(tmp_path / "sounds.npz", **{**SOUNDS, "x_test": SOUNDS["x_test"] + 1})
    loaded = load_run(run, Place(CPU, data_dir=tmp_path))
    assert loaded.warnings == ("the test (of data.sounds) split is not the one that the run began with",)


def test_every_data_set_is_evaluated(folder: Path, run: Path) -> None:
    assert cli.main(["evaluate", str(run), "--data-dir", str(folder)]) == 0
    found = json.loads((run / "evaluation.json").read_text())
    results = [result for result in found["results"] if result["split"] == "test"]
    errors = {result["variable"]: result for result in results if result["name"] == "reconstruction_error"}
    told = {name: (result["examples"], result.get("example", "image")) for name, result in errors.items()}
    assert told == {"x1": (20, "image"), "x2": (15, "vector")}
    state = Run(run).model("cpu").state_dict()
    scaled = (
        read_options(run).scaling_of("sounds").apply(torch.from_numpy(SOUNDS["x_test"])[:, :, None, None]).flatten(1)
    )
    hidden = torch.relu(dense(state, "encoder2", "h", scaled))
    chosen = torch.softmax(dense(state, "encoder2", "y2", hidden), 1)
    latent = dense(state, "encoder2", "z", hidden)
    hidden = torch.relu(dense(state, "decoder", "h", latent))
    rebuilt = dense(state, "decoder", "x2", torch.cat([hidden, chosen], 1))
    assert errors["x2"]["value"] == pytest.approx(float((rebuilt - scaled).square().mean()), rel=1e-5)
    (supervised,) = [r for r in results if r["variable"] == "y1" and r["name"] == "classification_error"]
    assert supervised["examples"] == 20


def test_a_sweep_chooses_by_a_measure_of_any_of_them(
    ammgraph: Callable[..., tuple[int, str, str]], folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("optuna", reason="a sweep needs Optuna: pip install 'ammgraph[sweep]'")
    vary = ("--vary", "data.faces.labeled.count=9,12", "--set", "training.epochs=1")
    words = ("--metric", "y2/nmi", "--data-dir", folder, "--run-dir", tmp_path / "s", "--log", "none")
    code, out, err = ammgraph("sweep", SPEC, *vary, *words)
    assert code == 0, err
    assert "2 trials: 2 finished" in out
    looks = [line for line in lines_of(tmp_path / "s" / "trial-0") if "evaluation" in line]
    assert looks[-1]["evaluation"]["y2/nmi"] == pytest.approx(
        float(next(line for line in out.splitlines() if line.startswith("0 ")).split()[1]), rel=1e-4
    )


def test_a_sweep_needs_something_held_out_of_each_of_them(
    ammgraph: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    vary = ("--vary", "training.batch_size.q1_labeled=3,6", "--metric", "nmi", "--data-dir", folder)
    code, _, err = ammgraph("sweep", SPEC, *vary, "--set", "data.sounds.validation=0")
    assert code == 1
    assert "`data.sounds` has none here: hold some out, as by `--set data.sounds.validation=5`" in err


def test_a_model_of_which_nothing_is_measured_is_not_swept(folder: Path) -> None:
    plan, dataset = read(folder)
    nothing = replace(plan, readouts=(), reconstructions=())
    with pytest.raises(RunError, match="measures nothing of this model, which infers no category from them and recon"):
        measured("nmi", nothing, dataset, 0)


def test_a_report_has_the_figures_of_every_data_set(run: Path, folder: Path) -> None:
    assert cli.main(["report", str(run), "--no-map", "--data-dir", str(folder), "--force"]) == 0
    with np.load(run / "report.npz") as arrays:
        names = set(arrays.files)
    assert {"matrix_y1_faces/counts", "matrix_y2_sounds/counts", "pairs_x1_faces/originals"} <= names
    assert "20 test images, 15 test vectors" in (run / "report.html").read_text()


def test_a_cycle_through_another_data_set_is_trained_evaluated_and_shown(tmp_path: Path) -> None:
    images = {name: RANDOM.integers(0, 256, (30, 4, 4), np.uint8) for name in ("photos", "drawings")}
    for name, pixels in images.items():
        np.savez(tmp_path / f"{name}.npz", x_train=pixels)
    found, options = tmp_path / "run", ["--data-dir", str(tmp_path)]
    assert cli.main(["train", str(CYCLE), *options, "--run-dir", str(found), "--log", "none"]) == 0
    state = {name: value.double() for name, value in Run(found).model("cpu").state_dict().items()}
    told = {
        result["variable"]: result["value"]
        for result in json.loads((found / "evaluation.json").read_text())["results"]
        if result["name"] == "reconstruction_error"
    }
    for name, there, back in (("x1", "to_drawing.x2", "to_photo.x1"), ("x2", "to_photo.x1", "to_drawing.x2")):
        x = torch.from_numpy(images["photos" if name == "x1" else "drawings"]).flatten(1).double() / 255
        moved = torch.sigmoid(dense(state, *there.split("."), x))
        rebuilt = torch.sigmoid(dense(state, *back.split("."), moved))
        assert told[name] == pytest.approx(((x - rebuilt) ** 2).mean().item(), rel=1e-5)
    assert cli.main(["report", str(found), "--no-map", *options]) == 0
    with np.load(found / "report.npz") as arrays:
        assert {"pairs_x1_photos/originals", "pairs_x2_drawings/originals"} <= set(arrays.files)


def test_a_variable_is_sampled_by_its_name_given_a_category(run: Path, tmp_path: Path) -> None:
    arguments = ["--variable", "x2", "--from", "p", "--set", "y2=1", "--count", "5"]
    assert cli.main(["sample", str(run), *arguments, "--output", str(tmp_path / "x2.npz")]) == 0
    with np.load(tmp_path / "x2.npz") as found:
        assert found["x2"].shape == (5, 3)
        assert found["y2"].tolist() == [1] * 5
        state, scaling = Run(run).model("cpu").state_dict(), read_options(run).scaling_of("sounds")
        hidden = torch.relu(dense(state, "decoder", "h", torch.from_numpy(found["z"])))
        given = torch.tensor([[0.0, 1.0]]).expand(5, 2)
        drawn = dense(state, "decoder", "x2", torch.cat([hidden, given], 1))
        expected = scaling.undo(drawn[:, :, None, None]).flatten(1)
        assert np.allclose(found["x2"], expected.numpy(), atol=1e-4)
    assert cli.main(["sample", str(run), "--output", str(tmp_path / "x1.png")]) == 0


def test_a_vector_of_the_second_data_set_is_encoded_by_its_own_scales(run: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=SOUNDS["x_test"])
    encoding = Run(run).encode(tmp_path / "few.npz", variable="x2", device="cpu")
    scaled = read_options(run).scaling_of("sounds").apply(torch.from_numpy(SOUNDS["x_test"])[:, :, None, None])
    state = Run(run).model("cpu").state_dict()
    hidden = torch.relu(dense(state, "encoder2", "h", scaled.flatten(1)))
    expected = dense(state, "encoder2", "z", hidden)
    assert np.allclose(encoding.values["z"], expected.numpy(), atol=1e-6)
    assert encoding.example == "vector"
    assert set(encoding.values) == {"y2", "y2_posterior", "y2_class", "z"}
    assert set(encoding.values["y2_class"].tolist()) <= {"0", "1", ""}  # and not 0 to 2, as of faces


def test_an_export_has_the_units_of_each_data_set(run: Path, tmp_path: Path) -> None:
    assert cli.main(["export", str(run), "--output", str(tmp_path / "export")]) == 0
    code = (
        "import torch, model\n"
        "x = torch.tensor([[5.0, 6.0, 7.0]])\n"
        "assert torch.allclose(model.in_units_sounds(model.scaled_sounds(x)).float(), x)\n"
        "print(model.load().infer_q2(model.scaled_sounds(x))['y2'].flatten().tolist())"
    )
    python, place = [command()[0], "-c", code], tmp_path / "export"
    done = subprocess.run(python, cwd=place, env=environment(), capture_output=True, text=True, check=True)
    np.savez(tmp_path / "one.npz", x=np.array([[5.0, 6.0, 7.0]]))
    expected = Run(run).encode(tmp_path / "one.npz", variable="x2", device="cpu").values["y2_posterior"]
    assert np.allclose(json.loads(done.stdout), expected[0], atol=1e-6)


def test_a_dry_run_makes_up_what_is_not_there(ammgraph: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    np.savez(tmp_path / "faces.npz", **FACES)
    code, out, err = ammgraph("train", SPEC, "--dry-run", "--data-dir", tmp_path)
    assert code == 0, err
    assert "faces = " in out
    assert "sounds = synthetic vectors of 3" in out


# ------------------------------------------------------------------------------------------------- what is refused


def test_data_in_python_are_those_of_one_data_set(tmp_path: Path) -> None:
    message = "`data` gives one data set, and the spec has several: `data.faces`, `data.sounds`"
    with pytest.raises(RunError, match=message):
        fit(load_spec(SPEC), data=FACES["x_train"], run_dir=tmp_path / "run")
    with pytest.raises(RunError, match=message):
        Estimator(SPEC).fit(FACES["x_train"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variable", "x3"], "`x3` cannot be sampled; expected `x1` or `x2`"),
        (["--from", "q1"], "`q1` starts from data (`x1`): give them, `--examples FILE`"),
        (["--variable", "x1", "--from", "q2"], "`q2` does not draw `x1` by networks from priors alone; expected `p`"),
        (["--set", "y2=1"], "`y2` cannot be given, expected `y1`"),
        (["--set", "y1=3"], "`y1` has 3 categories, from 0 to 2"),
        (["--set", "y1=1", "--component", "2"], "`y1` is given twice: component 2, and 1"),
    ],
)
def test_what_cannot_be_sampled_is_told(
    ammgraph: Callable[..., tuple[int, str, str]], run: Path, arguments: list[str], message: str
) -> None:
    code, _, err = ammgraph("sample", run, *arguments)
    assert code == 1
    assert message in err


def test_encoding_what_no_data_set_has_is_told(run: Path) -> None:
    with pytest.raises(RunError, match="`z` takes no image or vector from data, expected `x1` or `x2`"):
        Run(run).encode(FACES["x_test"], variable="z", device="cpu")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.sounds.labeled={count: 60}"], "`data.sounds.labeled.count` is 60, but there are 45 training examples"),
        (["data.faces.labeled.count=13"], "let `data.faces.labeled.count` be a multiple of 3"),
        (["data.sounds.validation=50"], "`data.sounds.validation` holds out 50 of 50 training examples"),
        (["data.sounds.path=sound.npz"], r"`data.sounds.path`: there is no \S*/sound.npz"),
    ],
)
def test_what_is_wrong_with_a_data_set_is_told_by_its_keys(overrides: list[str], told: str, folder: Path) -> None:
    with pytest.raises(RunError, match=told):
        read(folder, *overrides)


def test_what_is_wrong_with_the_file_of_a_data_set_is_told_by_its_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"none")
    with pytest.raises(RunError, match=r"^`data\.sounds`: .*broken\.npz"):
        read(folder, f"data.sounds.path={tmp_path / 'broken.npz'}")


def test_labels_that_are_missing_are_told_by_their_data_set(folder: Path, tmp_path: Path) -> None:
    some = {**FACES, "y_train": np.where(np.arange(70) % 2, FACES["y_train"], -1)}
    np.savez(tmp_path / "some.npz", **some)
    written = json.loads(json.dumps(load_spec(SPEC).written))
    written["data"]["faces"] = {"dataset": "npz", "path": str(tmp_path / "some.npz")}
    written["distributions"]["q1_labeled"]["q1(x1,y1)"] = "data.faces"
    plan = compile_spec(load_spec(written))
    told = "draw from `data.faces.labeled`, with `data.faces.labeled.count: all`"
    with pytest.raises(RunError, match=told):
        Trainer(plan, read_data(plan, folder), 0, CPU)


def test_the_names_of_the_data_sets_are_told_where_one_is_none_of_them() -> None:
    for name, hint in (("others", "valid here: `faces`, `sounds`"), ("sound", "did you mean `sounds`?")):
        with pytest.raises(SpecError) as caught:
            load_spec(SPEC, [f"data.{name}.validation=3"])
        (problem,) = caught.value.diagnostics
        assert (problem.code, problem.hint) == ("missing-key", hint)


def test_which_data_sets_lack_a_split_is_told(folder: Path) -> None:
    _, dataset = read(folder, "data.sounds.validation=0")
    with pytest.raises(RunError, match=r"`data\.sounds` has no split `validation` here, and `data\.faces` has one"):
        scored_split(dataset, "validation")
    assert scored_split(dataset, "test") == "test"


def test_a_look_that_measures_nothing_is_no_line(folder: Path) -> None:
    line = {"epoch": 1.0, "evaluation": {"examples": 15}}
    assert evaluation_text(line, plan_of()) == ""
    line["evaluation"]["x2/reconstruction_error"] = 0.5
    assert evaluation_text(line, plan_of()) == "  epoch 1.0: x2/reconstruction_error 0.50000  (15 examples)"


def test_changes_of_a_data_set_are_told_by_its_name() -> None:
    first, second = ((spec, compile_spec(spec)) for spec in (load_spec(SPEC), load_spec(SPEC, ["data.sounds.seed=2"])))
    assert [str(change) for change in changes(first, second)] == ["~ data set sounds: seed 1 -> 2"]


def test_the_classes_of_one_data_set_are_counted() -> None:
    empirical = "distributions.p.p(y1)=empirical"
    plan_of(empirical)
    with pytest.raises(SpecError, match="counts the labelled examples of one data set, and several have some"):
        plan_of(empirical, "data.sounds.labeled={count: 10}")
