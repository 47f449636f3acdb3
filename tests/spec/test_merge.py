import os
import threading
from pathlib import Path

import pytest

from ammgraph.diagnostics import SpecError, stop_if
from ammgraph.spec.merge import merge, read_chain
from ammgraph.spec.source import SourceMap, plain, source_map

PARENT = """\
ammgraph: 1
title: parent
notes: about the parent
constants: {K: 10, L: 2}
data: {dataset: mnist, validation: 5000}
networks:
  encoder:
    defaults: {op: linear}
    layers:
      h: {input: x, width: 3, initializer: {weights: {normal: 0.1}}}
      z: {input: h, channels: 4}
distributions:
  q: {q(x): data, 'q(z|x)': encoder.z}
games:
  joint: {match: [q, p], weight: 2}
training: {epochs: 3, schedule: [{update: [a]}, {update: [b]}]}
published: [{value: 1}]
measured: [{values: [1]}]
"""


def merged(folder: Path, child: str, *overrides: str) -> tuple[dict, SourceMap]:
    (folder / "parent.yaml").write_text(PARENT, encoding="utf-8")
    (folder / "child.yaml").write_text(f"extends: parent.yaml\n{child}", encoding="utf-8")
    written, problems = read_chain(str(folder / "child.yaml"), overrides)
    stop_if(problems, written.texts)
    tree, problems = merge(written)
    stop_if(problems, written.texts)
    return plain(tree), source_map(tree, written.texts)


def refused(folder: Path, child: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        merged(folder, child, *overrides)
    return [
        f"{Path(problem.span.file).name}:{problem.span.line}: {problem.code}" for problem in caught.value.diagnostics
    ]


def test_networks_merge_down_to_the_columns_of_their_rows(tmp_path: Path):
    data, _ = merged(tmp_path, "networks: {encoder: {layers: {h: {width: 5}, y: {input: h}}}}\n")
    assert data["networks"]["encoder"] == {
        "defaults": {"op": "linear"},
        "layers": {
            "h": {"input": "x", "width": 5, "initializer": {"weights": {"normal": 0.1}}},
            "z": {"input": "h", "channels": 4},
            "y": {"input": "h"},
        },
    }


def test_row_of_another_kind_still_merges_by_column_and_a_column_replaces(tmp_path: Path):
    child = "networks: {encoder: {layers: {h: {input: zeros(3), initializer: {biases: 1}}}}}\n"
    row = merged(tmp_path, child)[0]["networks"]["encoder"]["layers"]["h"]
    assert row == {"input": "zeros(3)", "width": 3, "initializer": {"biases": 1}}


def test_distribution_and_game_replace_whole(tmp_path: Path):
    data, _ = merged(tmp_path, "distributions: {q: {q(x): data}, r: q}\ngames: {joint: {match: [p, q]}}\n")
    assert data["distributions"] == {"q": {"q(x)": "data"}, "r": "q"}
    assert data["games"] == {"joint": {"match": ["p", "q"]}}


def test_everything_else_merges_by_key_and_lists_replace(tmp_path: Path):
    data, _ = merged(tmp_path, "constants: {K: 20}\ndata: {dataset: svhn}\ntraining: {schedule: [{update: [c]}]}\n")
    assert data["constants"] == {"K": 20, "L": 2}
    assert data["data"] == {"dataset": "svhn", "validation": 5000}
    assert data["training"] == {"epochs": 3, "schedule": [{"update": ["c"]}]}


def test_title_notes_and_numbers_to_compare_with_are_not_inherited(tmp_path: Path):
    data, _ = merged(tmp_path, "notes: about the child\n")
    assert data["notes"] == "about the child"
    assert not {"title", "published", "measured", "extends"} & set(data)


def test_numbers_to_compare_with_are_of_the_data_that_the_spec_has(tmp_path: Path):
    child = "data: {labeled: {count: 100}}\npublished: [{value: 2}]\nmeasured: [{values: [3]}]\n"
    for same in ("constants.K=20", "data.validation=100", "data.seed=1", "training.epochs=1"):
        data, _ = merged(tmp_path, child, same)
        assert (data["published"], data["measured"]) == ([{"value": 2}], [{"values": [3]}])
    for other in ("data.dataset=svhn", "data.labeled.count=50", "data.path=mine.npz", "data={dataset: svhn}"):
        assert not {"published", "measured"} & set(merged(tmp_path, child, other)[0])
    data, _ = merged(tmp_path, child, "data.dataset=svhn", "published=[{value: 4}]")
    assert data["published"] == [{"value": 4}]


def test_null_removes_what_is_inherited(tmp_path: Path):
    child = "constants: {L: null}\nnetworks: {encoder: {defaults: null, layers: {h: {width: null}, z: null}}}\n"
    data, _ = merged(tmp_path, child)
    assert data["constants"] == {"K": 10}
    assert data["networks"]["encoder"] == {"layers": {"h": {"input": "x", "initializer": {"weights": {"normal": 0.1}}}}}


def test_null_must_remove_something(tmp_path: Path):
    assert refused(tmp_path, "title: null\nconstants: {M: null}\ndistributions: {q: {'q(z|x)': null}}\n") == [
        "child.yaml:2: nothing-to-remove",
        "child.yaml:3: nothing-to-remove",
        "child.yaml:4: nothing-to-remove",
    ]


def test_every_value_keeps_the_file_it_came_from(tmp_path: Path):
    _, source = merged(tmp_path, "training: {epochs: 5}\n", "constants.K=20")
    assert Path(source.value("training", "epochs").file).name == "child.yaml"
    assert Path(source.value("training", "schedule").file).name == "parent.yaml"
    assert str(source.value("constants", "K")) == "--set:1:13"
    assert str(source.key("constants", "K")) == "--set:1:11"
    assert Path(source.value("constants", "L").file).name == "parent.yaml"


def test_chain_is_read_from_the_file_that_names_each_parent(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "grandparent.yaml").write_text("constants: {K: 1, L: 1, M: 1}\n", encoding="utf-8")
    (tmp_path / "deep" / "parent.yaml").write_text(
        "extends: ../grandparent.yaml\nconstants: {L: 2, M: 2}\n", encoding="utf-8"
    )
    (tmp_path / "child.yaml").write_text("extends: deep/parent.yaml\nconstants: {M: 3}\n", encoding="utf-8")
    written, problems = read_chain(str(tmp_path / "child.yaml"), [])
    assert problems == []
    assert plain(merge(written)[0]) == {"constants": {"K": 1, "L": 2, "M": 3}}


def test_circle_is_found_whatever_the_spelling(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("extends: ./b.yaml\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text(f"extends: {tmp_path}/../{tmp_path.name}/a.yaml\n", encoding="utf-8")
    _, (problem,) = read_chain(str(tmp_path / "a.yaml"), [])
    assert (problem.code, problem.message) == ("extends", "a spec extends itself")


def test_problems_of_all_files_come_together(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\nK: 1\nK: 2\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("extends: c.yaml\nL:\n", encoding="utf-8")
    _, problems = read_chain(str(tmp_path / "a.yaml"), ["x"])
    assert [problem.code for problem in problems] == ["duplicate-key", "empty-value", "extends", "bad-override"]


def test_file_that_cannot_be_read_is_a_diagnostic(tmp_path: Path):
    (_, (problem,)) = read_chain(str(tmp_path / "nothing.yaml"), [])
    assert (problem.code, str(problem.span)) == ("unreadable-spec", f"{tmp_path}/nothing.yaml:1:1")
    (tmp_path / "own.yaml").touch()
    assert read_chain(str(tmp_path / "OWN.yaml"), [])[1][0].hint == "did you mean `own.yaml`?"
    assert read_chain(str(tmp_path), [])[1][0].message == f"`{tmp_path}` is a folder"
    assert read_chain(str(tmp_path / "specs" / "amm_digits.yaml"), [])[1][0].hint == (
        "`amm_digits` ships with ammgraph: write its bare name, or `ammgraph copy amm_digits` for a copy of your own"
    )
    assert read_chain("amm_digts", [])[1][0].hint == "did you mean `amm_digits`? It ships with ammgraph"
    assert read_chain("a.yaml", [], "extends: amm_digts.yaml\n")[1][0].hint == ""
    assert read_chain("a\0b", [])[1][0].code == "unreadable-spec"
    assert read_chain("a.yaml", [], 'extends: "a b/%s"\n' % ("c" * 300))[1][0].code == "extends"


def test_a_named_pipe_is_not_waited_for_and_one_with_a_writer_is_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert read_chain(str(tmp_path / "pipe.yaml"), [])[1][0].message == "the file is empty"
    reading, writing = os.pipe()  # as a shell's `<(...)` gives it
    writer = threading.Timer(0.2, lambda: (os.write(writing, b"title: late\n"), os.close(writing)))
    writer.start()
    written, problems = read_chain(f"/dev/fd/{reading}", [])
    os.close(reading)
    assert (problems, plain(written.trees[0])) == ([], {"title": "late"})


def test_override_writes_last_and_its_value_is_yaml(tmp_path: Path):
    overrides = [
        "constants.K=20",
        "training.betas=[0.5, 1e-3]",
        "data={dataset: digits}",
        "title=a = b",
        "constants.L=null",
    ]
    data, _ = merged(tmp_path, "constants: {K: 15}\n", *overrides)
    assert data["constants"] == {"K": 20}
    assert data["training"]["betas"] == [0.5, 0.001]
    assert data["data"] == {"dataset": "digits"}, "a mapping is written whole"
    assert data["title"] == "a = b"


def test_override_creates_what_lies_between(tmp_path: Path):
    data, source = merged(tmp_path, "", "evaluation.every.epochs = 2")
    assert data["evaluation"] == {"every": {"epochs": 2}}
    assert str(source.key("evaluation", "every")) == "--set:1:12"
    assert str(source.value("evaluation", "every", "epochs")) == "--set:1:27"


def test_later_override_wins_and_each_has_its_line(tmp_path: Path):
    data, source = merged(tmp_path, "", "constants.K=1", "constants.K=2")
    assert data["constants"]["K"] == 2
    assert source.value("constants", "K").line == 2


def test_override_finds_a_factor_whatever_its_spelling(tmp_path: Path):
    data, _ = merged(tmp_path, "distributions: {p: {'p(x|y, z)': decoder.x}}\n", "distributions.p.p(x|z,y)=normal")
    assert data["distributions"]["p"] == {"p(x|y, z)": "normal"}


def test_wrong_overrides_are_diagnostics(tmp_path: Path):
    overrides = [
        "epochs",
        "a..b=1",
        "a=",
        "a= # 1",
        "extends=x",
        "a=\x1b",
        "a=1\nb: 2",
        "a=[",
        "a=*b",
        "a={b: 1, b: 2}",
    ]
    codes = [*["bad-override"] * 7, "yaml-syntax", "yaml-feature", "duplicate-key"]
    assert refused(tmp_path, "", *overrides) == [f"--set:{line}: {code}" for line, code in enumerate(codes, start=1)]


def test_override_goes_through_mappings_only(tmp_path: Path):
    overrides = [
        "training.epochs.all=1",
        "training.schedule.0=1",
        "training.steps=null",
        "new.path=null",
        "a={b: null}",
    ]
    assert refused(tmp_path, "", *overrides) == [
        "--set:1: bad-override",
        "--set:2: bad-override",
        "--set:3: nothing-to-remove",
        "--set:4: nothing-to-remove",
        "--set:5: nothing-to-remove",
    ]


# ------------------------------------------------------------------------------------------------ entries of lists


def test_an_override_sets_an_entry_of_a_list_by_its_number_from_one(tmp_path: Path) -> None:
    data, _ = merged(tmp_path, "title: child", "training.schedule.2.update=[c]", "training.schedule.1=null")
    assert data["training"]["schedule"] == [{"update": ["c"]}]
    data, _ = merged(tmp_path, "title: child", "training.schedule.1.steps=5")
    assert data["training"]["schedule"] == [{"update": ["a"], "steps": 5}, {"update": ["b"]}]


@pytest.mark.parametrize("number", ["0", "3", "99999999999999999999"])
def test_a_number_beyond_the_list_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(SpecError) as caught:
        merged(tmp_path, "title: child", f"training.schedule.{number}.steps=5")
    (problem,) = caught.value.diagnostics
    assert problem.message == f"`schedule` has no entry {number[:9]}"
    assert problem.expected == "1 to 2"
