"""Several fields of a record: what each variable takes, which labels score which category, what is wrong."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from tiny import CPU, TINY

from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import Dataset, load_data
from ammgraph.data.fields import read_fields
from ammgraph.data.table_files import read_csv
from ammgraph.data.tables import read_records
from ammgraph.diagnostics import RunError, SpecError
from ammgraph.evaluation.encode import encode
from ammgraph.evaluation.evaluate import ask
from ammgraph.evaluation.loading import load_run
from ammgraph.evaluation.metrics import ASSIGNMENTS, classification_error, cluster_table
from ammgraph.evaluation.sample import draw_samples
from ammgraph.export.model import askings
from ammgraph.nn.model import build
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import label_name, record_fields
from ammgraph.runs.run import Place
from ammgraph.spec.data import Data
from ammgraph.spec.load import load_spec
from ammgraph.train.streams import Feed

SPEC = Path(__file__).parent / "tiny_fields.yaml"
RANDOM = np.random.default_rng(0)
COUNT = 60
LEFT = RANDOM.integers(0, 256, (COUNT, 4, 4), np.uint8)
RIGHT = RANDOM.integers(0, 256, (COUNT, 5, 5, 3), np.uint8)
DIGIT = RANDOM.integers(0, 3, COUNT)
COLOUR = np.array(["blue", "red"])[RANDOM.integers(0, 2, COUNT)]
ARRAYS = {"left": LEFT, "right": RIGHT, "digit": DIGIT, "colour": COLOUR}
SPLIT = {f"{name}_train": values[:40] for name, values in ARRAYS.items()}
SPLIT |= {f"{name}_test": values[40:] for name, values in ARRAYS.items()}


def plan_of(*overrides: str) -> Plan:
    return compile_spec(load_spec(SPEC, overrides))


def read(folder: Path, *overrides: str) -> tuple[Plan, Dataset]:
    plan = plan_of(*overrides)
    return plan, load_data(plan.data, folder, fields=record_fields(plan))


def test_every_field_is_of_the_same_record(tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **SPLIT)
    plan, dataset = read(tmp_path)
    feed = Feed(plan, dataset, 0, CPU, torch.float64)
    batch = feed.batches(plan.turns[0])["q"]
    for x1, x2 in zip(batch["x1"], batch["x2"], strict=True):
        place = next(i for i in range(40) if np.allclose(x1.numpy(), LEFT[i] / 255))
        assert np.allclose(x2.numpy(), RIGHT[place].transpose(2, 0, 1) / 255)


@pytest.mark.parametrize("arrays", [ARRAYS, SPLIT], ids=["one split", "two splits"])
@pytest.mark.parametrize("dataset", ["npz", "npy"])
def test_arrays_of_these_names_in_a_file_or_files(dataset: str, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **arrays)
    (tmp_path / "pairs").mkdir()
    for name, values in arrays.items():
        np.save(tmp_path / "pairs" / f"{name}.npy", values)
    path = "pairs.npz" if dataset == "npz" else "pairs"
    _, found = read(tmp_path, f"data.dataset={dataset}", f"data.path={path}", "data.validation=5")
    count = 35 if arrays is SPLIT else 55
    assert len(found.train) == count
    assert found.train.others["right"].shape == (count, 3, 5, 5)
    assert found.train.other_classes == {"colour": ("blue", "red")}
    assert (found.test is None) == (arrays is ARRAYS)
    held = found.validation
    for place in range(5):
        source = next(i for i in range(COUNT) if np.array_equal(held.held()[place, 0].numpy(), LEFT[i]))
        assert np.array_equal(held.others["right"][:][place].numpy(), RIGHT[source].transpose(2, 0, 1))
        assert held.labels[place] == DIGIT[source]
        assert ("blue", "red")[held.others["colour"][place]] == COLOUR[source]


def test_each_category_is_scored_by_its_own_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **SPLIT)
    run = tmp_path / "run"
    path = f"data.path={tmp_path / 'pairs.npz'}"
    assert cli.main(["train", str(SPEC), "--set", path, "--run-dir", str(run), "--log-every", "5"]) == 0
    loaded = load_run(run, Place(CPU))
    answers = ask(loaded.model, loaded.plan, loaded.dataset.test)
    results = json.loads((run / "evaluation.json").read_text())["results"]
    for variable, labels, size in (("y1", DIGIT[40:], 3), ("y2", (COLOUR[40:] == "red").astype(int), 2)):
        chosen = answers.scores[variable, "posterior"].argmax(1)
        assignment = ASSIGNMENTS["majority"](cluster_table(chosen, labels, size, size))
        expected = classification_error(assignment[chosen], labels)
        found = [
            result["value"]
            for result in results
            if (result["name"], result["rule"], result["variable"]) == ("clustering_error", "posterior", variable)
            and result["protocol"] == "majority"
        ]
        assert found == [pytest.approx(expected)]
    assert cli.main(["report", str(run), "--no-map"]) == 0


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_a_category_is_encoded_with_the_names_of_its_own_classes(suffix: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **SPLIT)
    np.savez(tmp_path / "right.npz", images=RIGHT[40:])
    run, output = tmp_path / "run", tmp_path / f"codes{suffix}"
    data = f"data.path={tmp_path / 'pairs.npz'}"
    assert cli.main(["train", str(SPEC), "--set", data, "--run-dir", str(run), "--log-every", "5"]) == 0
    words = ["encode", str(run), str(tmp_path / "right.npz"), "--variable", "x2", "--output", str(output)]
    assert cli.main(words) == 0
    if suffix == ".npz":
        with np.load(output) as arrays:
            clusters, names = arrays["y2"], arrays["y2_class"]
    else:
        with output.open(newline="") as file:
            rows = list(csv.DictReader(file))
        clusters, names = np.array([int(row["y2"]) for row in rows]), np.array([row["y2_class"] for row in rows])
    for cluster in np.unique(clusters):  # the colour that most of its examples have
        of_it = COLOUR[40:][clusters == cluster]
        most = max((of_it == colour).sum() for colour in ("blue", "red"))
        (name,) = set(names[clusters == cluster])
        assert (of_it == name).sum() == most


def test_a_category_is_not_scored_by_labels_that_another_owns(tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **SPLIT)
    run = tmp_path / "run"
    fields = "data.fields={x1: left, x2: right, y1: digit}"
    arguments = ["--set", f"data.path={tmp_path / 'pairs.npz'}", "--set", fields, "--run-dir", str(run)]
    assert cli.main(["train", str(SPEC), *arguments, "--log-every", "5"]) == 0
    results = json.loads((run / "evaluation.json").read_text())["results"]
    errors = {r["variable"]: r for r in results if r["name"] == "nmi" and r["rule"] == "posterior"}
    assert errors["y1"]["value"] is not None
    assert errors["y2"]["value"] is None
    assert errors["y2"]["void"] == "the labels are another variable's; `data.fields: {y2: NAME}` gives it its own"


@pytest.mark.parametrize("kind", ["csv", "parquet", "lists"])
def test_columns_of_a_table(kind: str, tmp_path: Path) -> None:
    values = RANDOM.normal(7, 3, (COUNT, 3))
    frame = pandas.DataFrame(values, columns=[*"abc"]).assign(digit=DIGIT, colour=COLOUR)
    first = "[a, b]"
    if kind == "lists":  # one column whose cells are lists of two numbers
        first, frame = "both", frame.assign(both=[*values[:, :2]])
    name = "pairs.csv" if kind == "csv" else "pairs.parquet"
    if kind == "csv":
        frame.to_csv(tmp_path / name, index=False)
    else:
        frame.to_parquet(tmp_path / name)
    vectors = ["variables.x1={type: real, size: 2}", "variables.x2={type: real, size: 1}"]
    rows = ["x1={input: g1, channels: 2, width: 1}", "x2={input: g2, channels: 1, width: 1}"]
    fields = f"data.fields={{x1: {first}, x2: c, y1: digit, y2: colour}}"
    _, found = read(
        tmp_path,
        f"data.dataset={Path(name).suffix[1:]}",
        f"data.path={name}",
        fields,
        *vectors,
        *(f"networks.decoder.layers.{row}" for row in rows),
    )
    standard = (values - values.mean(0)) / values.std(0)
    assert np.allclose(found.train.points.numpy(), standard[:, :2], atol=1e-6)
    assert np.allclose(found.train.others["c"].flatten(1).numpy(), standard[:, 2:], atol=1e-6)
    assert found.train.labels.tolist() == DIGIT.tolist()
    assert found.train.others["colour"].tolist() == (COLOUR == "red").astype(int).tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"right_train": None},
            r"no array `right_train`; found .*left_train.*; expected `right_train`, as `data.fields`",
        ),
        ({"left_test": None}, r"no array `left_test`; found .*digit_test.*; expected `left_test`"),
        ({"left_train": None, "leftt_train": LEFT}, "no array `left_train`.*did you mean `leftt_train`"),
        ({"colour_train": COLOUR[:39]}, "`left_train` has 40 records, and `colour_train` 39 labels; expected one each"),
        ({"right_train": RIGHT[:39]}, "`right_train` has 39 records, and `digit_train` 40 labels; expected one each"),
        ({"right_train": RIGHT[:40] / 200}, "`right_train` has floats from 0"),
        ({"digit_train": DIGIT[:40] / 2}, "`digit_train` is float64, expected integers"),
        ({"colour_train": np.full(40, ""), "colour_test": np.full(20, "")}, "no record has a label in `colour`"),
    ],
)
def test_wrong_fields_are_told_by_their_names(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    arrays = {name: values for name, values in (SPLIT | changes).items() if values is not None}
    np.savez(tmp_path / "pairs.npz", **arrays)
    with pytest.raises(RunError, match=message):
        read(tmp_path)


def test_fields_of_one_class_and_names_that_are_nearly_those_of_fields_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = {name: values for name, values in SPLIT.items() if name.endswith("_train")}
    train |= {"colour_train": np.full(40, "red"), "left_tset": LEFT, "right_tset": RIGHT}
    np.savez(tmp_path / "pairs.npz", **train)
    read(tmp_path)
    assert "every label of `colour` is `red`, and there is nothing to tell apart" in caplog.text
    assert "`left_tset` is no array that is read; did you mean `left_test`?" in caplog.text


def test_vectors_of_another_number_than_the_first_field_are_told_by_name(tmp_path: Path) -> None:
    lines = [",".join(["1", "2", "u"])] * 3
    (tmp_path / "a.csv").write_text("\n".join(["a,b,y", *lines]))
    records = [read_records(read_csv(tmp_path / "a.csv"), (name,), "y") for name in "ab"]
    records[1] = replace(records[1], train=records[1].train.part(0, 2))
    with pytest.raises(RunError, match="`b` has 2 records, and `a` 3; expected one each"):
        read_fields(lambda name, _: records["ab".index(name)], [("vector", "a"), ("vector", "b")])


def test_a_field_that_does_not_fit_its_variable_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **SPLIT)
    plan, dataset = read(tmp_path, "variables.x2.shape=[3, 4, 4]", "networks.decoder.layers.x2.width=4")
    with pytest.raises(RunError, match=r"`x2` has shape \[3, 4, 4\], but `right` of npz has \[3, 5, 5\]"):
        Feed(plan, dataset, 0, CPU, torch.float32)


def test_two_variables_of_one_field_are_one_too_many() -> None:
    with pytest.raises(SpecError) as caught:
        plan_of("data.fields={x1: left, x2: left}")
    assert "`x1` and `x2` are both the left of one record" in str(caught.value)


def test_another_field_is_another_plan() -> None:
    assert plan_hash(plan_of()) != plan_hash(plan_of("data.fields={x1: right, x2: left, y1: digit, y2: colour}"))


def test_a_dry_run_needs_no_data(ammgraph, tmp_path: Path) -> None:
    code, _, err = ammgraph("train", SPEC, "--dry-run", "--data-dir", tmp_path)
    assert code == 0, err


def test_what_depends_on_the_first_image_alone_is_encoded(tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **SPLIT)
    run, codes = tmp_path / "run", tmp_path / "codes.npz"
    path = f"data.path={tmp_path / 'pairs.npz'}"
    assert cli.main(["train", str(SPEC), "--set", path, "--run-dir", str(run), "--log-every", "5"]) == 0
    np.savez(tmp_path / "few.npz", images=LEFT[:3])
    assert cli.main(["encode", str(run), str(tmp_path / "few.npz"), "--output", str(codes)]) == 0
    with np.load(codes) as found:
        assert "y1" in found.files
        assert "y2" not in found.files
    (tmp_path / "arrays").mkdir()
    for name in ("left_test", "right_test", "digit_test"):
        np.save(tmp_path / "arrays" / f"{name}.npy", SPLIT[name])
    for source in ("pairs.npz", "arrays"):
        assert cli.main(["encode", str(run), str(tmp_path / source), "--output", str(codes)]) == 0
        with np.load(codes) as found:
            assert len(found["y1"]) == len(SPLIT["left_test"])


def test_the_words_of_fields_are_no_names_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", image=LEFT, label=np.zeros(len(LEFT), int), digit=np.zeros(len(LEFT), int))
    for fields in ("{x: image}", "{x: image, y: digit}"):
        data = compile_spec(load_spec(TINY, [f"data={{dataset: npz, path: {tmp_path}/words.npz, fields: {fields}}}"]))
        with pytest.raises(
            RunError, match=r"in `data.fields` `image` and `label` are words for .*, and no names of an"
        ):
            load_data(data.data, None, fields=record_fields(data))


def test_a_column_of_a_table_may_be_named_image(tmp_path: Path) -> None:
    values = RANDOM.normal(7, 3, (COUNT, 2))
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "b", "digit", "colour"])
        writer.writerows([*row, digit, colour] for row, digit, colour in zip(values, DIGIT, COLOUR, strict=True))
    fields = "{x1: image, x2: b, y1: digit, y2: colour}"
    _, found = read(
        tmp_path,
        f"data={{dataset: csv, path: pairs.csv, scale: none, fields: {fields}}}",
        "variables.x1={type: real, size: 1}",
        "variables.x2={type: real, size: 1}",
        "networks.decoder.layers.x1={input: g1, channels: 1, width: 1}",
        "networks.decoder.layers.x2={input: g2, channels: 1, width: 1}",
    )
    assert np.allclose(found.train.points.flatten().numpy(), values[:, 0])
    assert np.allclose(found.train.others["b"].flatten().numpy(), values[:, 1])


def test_a_table_s_label_is_that_of_a_category_without_a_field() -> None:
    fields = ("data={dataset: csv, path: pairs.csv, fields: {x1: a, x2: b, y2: colour}", "{type: real, size: 1}")
    changes = (
        *(f"variables.x{n}={fields[1]}" for n in (1, 2)),
        *(f"networks.decoder.layers.x{n}={{input: g{n}, channels: 1, width: 1}}" for n in (1, 2)),
    )
    assert label_name(plan_of(fields[0] + ", label: digit}", *changes), "y1") == ""
    assert label_name(plan_of(fields[0] + "}", *changes), "y1") is None
    assert label_name(plan_of(fields[0] + ", label: colour}", *changes), "y1") is None


def test_a_vector_of_a_table_holds_no_label(tmp_path: Path) -> None:
    """Numbers that are labels would tell the answer, without a word where columns are not named."""
    values = RANDOM.normal(7, 3, (COUNT, 2))
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "digit", "b", "grade"])
        writer.writerows([a, digit, b, 2 - digit] for (a, b), digit in zip(values, DIGIT, strict=True))

    def found(**more: object) -> Dataset:
        words = {"dataset": "csv", "path": "pairs.csv", "scale": "none", "fields": {"y1": "digit", "y2": "grade"}}
        taken = [("vector", ""), ("label", "digit"), ("label", "grade")]
        return load_data(Data.model_validate({**words, **more}), tmp_path, fields=taken)

    assert np.allclose(found().train.points.flatten(1).numpy(), values)
    assert np.allclose(found(label="digit", fields={"y2": "grade"}).train.points.flatten(1).numpy(), values)
    assert np.allclose(found(columns=["b"]).train.points.flatten(1).numpy(), values[:, 1:])
    for label in ("digit", "grade"):
        with pytest.raises(RunError, match=rf"`data.columns` has column `{label}`, which is a label too; leave it out"):
            found(columns=["a", label])


TWO_ENCODERS = (
    "variables.z={type: real, size: 2}",
    "networks.e1={layers: {z: {input: x1, op: linear, channels: 2}}}",
    "networks.e2={layers: {z: {input: x2, op: linear, channels: 2}}}",
    "networks.judge={layers: {d: {input: z, channels: 1, width: 1}}}",
    "distributions.a={'a(x1,x2)': data, a(z|x1): e1.z}",
    "distributions.b={'b(x1,x2)': data, b(z|x2): e2.z}",
    "games.codes={match: [a, b], discriminator: judge.d, objective: hinge}",
)


def test_a_latent_that_either_image_gives_is_inferred_from_the_one_that_is_given() -> None:
    plan = plan_of(*TWO_ENCODERS)
    model = build(plan, torch.Generator().manual_seed(0))
    for name, images, by in (("x1", LEFT[:, None], "a(z|x1)"), ("x2", RIGHT.transpose(0, 3, 1, 2), "b(z|x2)")):
        found = encode(model, plan, torch.from_numpy(images), ("",) * COUNT, name)
        assert (found.by["z"], found.values["z"].shape) == (by, (COUNT, 2))
    inferring = {asking.name for asking in askings(plan) if "z" in asking.results}
    assert inferring == {"infer_a", "infer_b"}


def test_between_categories_there_is_no_line() -> None:
    plan = plan_of()
    model = build(plan, torch.Generator().manual_seed(0))
    with pytest.raises(RunError, match=r"`p\(x1\|y1,y2\)` has no real latent to interpolate; leave `interpolate` out"):
        draw_samples(model, plan, interpolate=3)
