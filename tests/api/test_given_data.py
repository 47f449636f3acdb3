"""Data given in Python: what may be given, what a run remembers of them, and what it asks for later."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tiny import TINY, differences
from tiny_runs import state_of
from torch.utils.data import Dataset, TensorDataset

import ammgraph
from ammgraph.cli import main
from ammgraph.data.dataset import fingerprint
from ammgraph.data.given import read_examples, read_given
from ammgraph.data.stored import read_npz

X, Y = load_digits(return_X_y=True)
IMAGES = (X.reshape(-1, 8, 8) / 16 * 255).round().astype(np.uint8)
VECTORS = TINY.parent / "tiny_vectors.yaml"
SHORT = ("training.steps=3", "data.validation=97")


class Pairs(Dataset[tuple[torch.Tensor, int]]):
    def __len__(self) -> int:
        return 300

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(IMAGES[place])[None], int(Y[place])


def test_arrays_tensors_and_data_sets_of_torch_are_the_same_data() -> None:
    x, y = IMAGES[:300], Y[:300]
    forms: list[Any] = [
        (x, y),
        {"x_train": x, "y_train": y},
        (torch.from_numpy(x)[:, None], torch.from_numpy(y)),
        TensorDataset(torch.from_numpy(x)[:, None], torch.from_numpy(y)),
        Pairs(),
    ]
    found = {fingerprint(read_given(form).records.train) for form in forms}
    assert len(found) == 1
    assert read_given((x, y)).shapes == "x_train (300, 8, 8) uint8, y_train (300,) int64"
    assert torch.equal(read_examples(x), torch.from_numpy(x)[:, None])
    assert not read_given(x).records.labelled
    fixed = x.copy()
    fixed.flags.writeable = False
    assert torch.equal(read_examples(fixed), read_examples(x))


def test_texts_are_classes_also_as_objects() -> None:
    given = read_given((IMAGES[:3], np.array(["b", "a", "b"], dtype=object)))
    assert given.records.classes == ("a", "b")
    assert given.records.train.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((IMAGES[:3], Y[:2]), "3 training images but 2 labels; expected one each"),
        ((np.array([[np.nan, 1.0]]),), "column `x_0` is NaN or infinite"),
        ((np.array([["a", "b"]]),), "expected numbers"),
        ({"y_train": Y}, "no array `x_train`; found y_train"),
        ({"x_train": IMAGES, "y_train": Y, "x_valid": IMAGES}, "`x_valid` is no array that is read, expected some of"),
        ({"x_train": IMAGES, "y_train": Y, "x_tset": IMAGES, 3: Y}, "`x_tset` and `3` are no arrays that are read"),
        (np.zeros(3), "has shape"),
        (TensorDataset(torch.zeros(0, 1, 8, 8)), "the data set is empty"),
        ([[0.5, 2.0], [0.5]], "`x_train` is no array: setting an array element with a sequence"),
    ],
)
def test_what_is_wrong_is_told(data: object, said: str) -> None:
    with pytest.raises(ammgraph.RunError, match=f"^data given in Python: .*({said})"):
        read_given(data)


def test_missing_labels_are_told_and_the_code_gives_them_none() -> None:
    for labels, classes in (
        (np.array(["a", "b", None], object), ("a", "b")),
        (np.array(["a", "b", np.nan], object), ("a", "b")),
        (np.array(["a", "b", "nan"]), ("a", "b")),
        (["a", "b", float("nan")], ("a", "b")),
    ):
        with pytest.raises(ammgraph.RunError, match=r"None or NaN|a word for a missing label") as told:
            read_given((IMAGES[:3], labels))
        code = re.search("store `([^`]+)`", str(told.value))[1]
        records = read_given((IMAGES[:3], eval(code, {"numpy": np, "y_train": labels}))).records
        assert records.classes == classes
        assert records.train.labels.tolist() == [0, 1, -1]


def test_items_of_different_shapes_are_refused() -> None:
    class Uneven(Dataset[np.ndarray]):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 2

        def __getitem__(self, place: int) -> np.ndarray:  # type: ignore[type-arg]
            return np.zeros((8, 8 + place), np.uint8)

    with pytest.raises(ammgraph.RunError, match=r"different shapes, as \(8, 8\) and \(8, 9\)"):
        read_given(Uneven())


def test_given_images_train_as_the_same_images_of_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=Y)
    spec = ammgraph.load_spec(TINY, SHORT)
    given = ammgraph.fit(spec, data=(IMAGES, Y), run_dir=tmp_path / "given")
    stored = [f"data={{dataset: npz, path: {tmp_path}/a.npz, validation: 97}}"]
    read = ammgraph.fit(ammgraph.load_spec(TINY, [*SHORT[:1], *stored]), run_dir=tmp_path / "read")
    assert differences(state_of(given.folder)["model"], state_of(read.folder)["model"]) == []
    found, expected = given.evaluate(device="cpu"), read.evaluate(device="cpu")
    assert found.results == expected.results
    assert found.data.startswith("data given in Python: images of 1x8x8, 10 classes; 1,700 training, 97 validation")


def test_a_run_records_what_was_given_and_asks_for_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ammgraph.fit(ammgraph.load_spec(TINY, SHORT), data=(IMAGES, Y), run_dir=tmp_path / "run").folder
    settings = json.loads((folder / "run.json").read_text())
    assert settings["data_given"] == "x_train (1797, 8, 8) uint8, y_train (1797,) int64"
    assert settings["command"] == f"ammgraph.fit('{folder}/spec.json', data=..., seed=0)"
    said = (
        f"the data of {folder} were given in Python, and a run does not keep them: {settings['data_given']}, "
        f"SHA-256 {settings['data_sha256']['train'][:12]}; give them again, as by "
        f"`ammgraph.Run('{folder}').evaluate(data=(x, y))`"
    )
    run = ammgraph.Run(folder)
    for ask in (run.evaluate, run.resume, run.report):
        with pytest.raises(ammgraph.RunError, match=re.escape(said)):
            ask()
    assert main(["evaluate", str(folder)]) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert ammgraph.Run(folder, data=(IMAGES, Y)).evaluate().step == run.evaluate(data=(IMAGES, Y)).step == 3
    assert run.sample(count=1).images.shape == (10, 1, 8, 8)  # which needs none


def test_it_is_resumed_with_the_data_alone_that_it_began_with(tmp_path: Path) -> None:
    spec = ammgraph.load_spec(TINY, ["training.steps=6", "data.validation=97"])
    stopped = ammgraph.fit(spec, data=(IMAGES, Y), run_dir=tmp_path / "a", stop=lambda state: state.step == 3)
    with pytest.raises(ammgraph.RunError, match="the training and validation images are not those that"):
        ammgraph.Run(stopped.folder).resume(data=(IMAGES[::-1].copy(), Y))
    ammgraph.Run(stopped.folder).resume(data=(IMAGES, Y))
    straight = ammgraph.fit(spec, data=(IMAGES, Y), run_dir=tmp_path / "b")
    assert differences(state_of(stopped.folder), state_of(straight.folder)) == []


def test_vectors_are_scaled_and_test_examples_scored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size = ammgraph.compile_spec(ammgraph.load_spec(VECTORS)).variable("x").shape[0]
    x, y = rng.normal(5, 3, (80, size)), rng.integers(0, 2, 80)
    data = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}
    run = ammgraph.fit(
        ammgraph.load_spec(VECTORS, ["training.steps=2", "data.validation=0"]), data=data, run_dir=tmp_path
    )
    assert run.evaluate().split == "test"
    model = run.model()
    encoded = run.encode(x[60:])
    for name, values in model.infer(x[60:]).items():
        found = encoded.values.get(f"{name}_posterior", encoded.values[name])
        np.testing.assert_allclose(values.numpy(), found, atol=1e-6)
    drawn = model.generate(2000, seed=0)
    assert drawn.shape == (2000, size)
    assert model.scaling is not None
    np.testing.assert_allclose(model.scaling.shift, x[:60].mean(0))


def test_memory_mapped_arrays_stay_in_their_file_and_train_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    spec = ammgraph.load_spec(TINY, SHORT)
    on_disk, in_memory = (
        ammgraph.fit(spec, data=(x, Y), run_dir=tmp_path / name) for name, x in (("a", mapped), ("b", IMAGES))
    )
    assert not isinstance(read_given(mapped).records.train.images, torch.Tensor)
    assert differences(state_of(on_disk.folder)["model"], state_of(in_memory.folder)["model"]) == []
    assert torch.equal(read_examples(mapped), read_examples(IMAGES))


def test_a_spec_may_ask_for_arrays_and_the_command_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TINY.read_text().replace("{dataset: digits, validation: 197}", "{dataset: arrays}"))
    assert main(["validate", str(path)]) == 0
    assert main(["train", str(path), "--run-dir", str(tmp_path / "run")]) == 1
    assert "`data.dataset: arrays` is given in Python: `ammgraph.fit(spec, data=(x, y))`" in capsys.readouterr().err
    assert ammgraph.fit(path, data=IMAGES, run_dir=tmp_path / "run", stop=lambda _: True).spec.data.dataset == "arrays"


def test_runs_that_remember_their_data_are_compared_without_an_evaluation(tmp_path: Path) -> None:
    spec = ammgraph.load_spec(TINY, SHORT)
    first = ammgraph.fit(spec, data=(IMAGES, Y), run_dir=tmp_path / "a")
    again = ammgraph.fit(spec, data=(IMAGES, Y), run_dir=tmp_path / "b", seed=1).folder
    with pytest.raises(ammgraph.RunError, match="were given in Python, and a run does not keep them"):
        ammgraph.compare([first, again])
    compared = ammgraph.compare([first, ammgraph.Run(again, data=(IMAGES, Y))], device="cpu")
    assert [len(group.runs) for group in compared.groups] == [2]


@pytest.mark.parametrize("missing", ["x_test", "y_test", "y_train", "x_train"])
def test_arrays_in_python_and_in_a_file_follow_one_rule(missing: str, tmp_path: Path) -> None:
    arrays = {"x_train": IMAGES[:20], "y_train": Y[:20], "x_test": IMAGES[20:30], "y_test": Y[20:30]}
    del arrays[missing]
    np.savez(tmp_path / "a.npz", **arrays)
    said = f"no array `{missing}`; found {', '.join(arrays)}; expected x_train, y_train and, if there is a test split"
    for read in (lambda: read_given(arrays), lambda: read_npz(tmp_path / "a.npz")):
        with pytest.raises(ammgraph.RunError, match=re.escape(said)):
            read()


def test_a_name_that_is_nearly_right_is_told_in_python_too() -> None:
    with pytest.raises(ammgraph.RunError, match=r"no array `y_train`; .*; rename `y_trian` to `y_train`"):
        read_given({"x_train": IMAGES[:3], "y_trian": Y[:3]})
    assert not read_given({"x_train": IMAGES[:3], "x_test": IMAGES[3:5]}).records.labelled


def test_vectors_of_another_length_are_told_as_numbers(tmp_path: Path) -> None:
    size = ammgraph.compile_spec(ammgraph.load_spec(VECTORS)).variable("x").shape[0]
    x = np.random.default_rng(0).normal(size=(60, size))
    overrides = ["training.steps=1", "data.validation=0"]
    run = ammgraph.fit(ammgraph.load_spec(VECTORS, overrides), data=(x, np.arange(60) % 2), run_dir=tmp_path / "a")
    said = rf"the examples are vectors of {size - 1}, but `x` is a vector of {size}; expected {size} numbers each"
    for ask in (run.encode, run.model("cpu").infer):
        with pytest.raises(ammgraph.RunError, match=said):
            ask(x[:, :-1])
        with pytest.raises(ammgraph.RunError, match="the examples are images of 1x8x8, but `x` is a vector"):
            ask(IMAGES[:2])


def test_what_would_not_be_read_is_refused() -> None:
    class Numbered(Dataset[tuple[np.ndarray, int, int]]):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, place: int) -> tuple[np.ndarray, int, int]:  # type: ignore[type-arg]
            return IMAGES[place], 0, place

    for data, what in (((IMAGES, Y, Y), "the tuple has 3 parts"), (Numbered(), "an item of the data set has 3 parts")):
        with pytest.raises(ammgraph.RunError, match=rf"{what}, expected \(x, y\), or x alone; a test split has names"):
            read_given(data)


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        (np.full((3, 8, 8), 2.5), "`x` has floats from 2.5 to 2.5, expected [0, 1]; store `x.astype('float32') / 255`"),
        (np.full((3, 8, 8), np.nan), "`x[0]` has pixels that are NaN or infinite"),
        ([[1, 2], [3]], "`x` is no array"),
        ({"x_train": np.zeros((3, 8, 8))}, "a mapping of `x_train`, expected one array of images or of vectors"),
    ],
)
def test_examples_are_told_as_examples_and_not_as_training_data(examples: object, said: str) -> None:
    with pytest.raises(ammgraph.RunError) as raised:
        read_examples(examples)
    text = str(raised.value)
    assert text.startswith(f"examples given in Python: {said}")
    assert "every split" not in text
