"""A stranger's spec is safe to open: bounded in size, depth, names, numbers and work, and kept in its folder."""

import difflib
import json
import os
import sys
from itertools import islice, permutations
from pathlib import Path

import pytest
from work import calls_at_most

from ammgraph.cli import main
from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import MOST_PROBLEMS, Diagnostic, SpecError, nearest
from ammgraph.spec.load import load_spec, load_text
from ammgraph.spec.source import LARGEST_FILE, MOST_ENTRIES, parse, plain

BASE = Path(__file__).parent.parent / "bad_specs" / "_base.yaml"
WORK = 3_000_000  # calls


def refused(text: str) -> tuple[Diagnostic, ...]:
    """The problems of a text, found with bounded work."""
    with calls_at_most(WORK), pytest.raises(SpecError) as caught:
        compile_spec(load_text(text))
    assert len(str(caught.value)) < 100_000
    return caught.value.diagnostics


@pytest.mark.parametrize(
    "text",
    [
        "title: !!python/object/apply:os.system ['echo pwned']",
        "title: !!python/name:os.system",
        "!!python/object/new:os.system [echo]",
        "title: &a [&b [x]]\nnotes: *a",
        "a: &a {b: *a}",
        "title: !!binary aGVsbG8=",
        "%TAG ! tag:yaml.org,2002:\n---\na: !python/tuple []",
    ],
)
def test_no_tag_no_alias_no_object(text: str) -> None:
    assert {problem.code for problem in refused(text)} & {"yaml-feature", "yaml-syntax"}


def test_a_billion_laughs_are_refused_at_the_first_anchor() -> None:
    lines = ["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))]
    assert refused("\n".join(lines))[0].span.line == 1


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 60_000,
        "{a: " * 30_000,
        "- " * 60_000,
        "? " * 40_000,
        "\n".join(" " * n + "a:" for n in range(450)),
    ],
)
def test_deep_nesting_is_told_and_meets_no_limit_of_the_language_below(text: str) -> None:
    limit = sys.getrecursionlimit()
    assert "nesting this deep" in refused(text)[0].message
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"a{n}: 1" for n in range(1_000_000))[: LARGEST_FILE - 1],
        "a: [" + "1, " * 1_000_000,
        "title: " + "x" * (LARGEST_FILE - 100),
        "a: " + "9" * (LARGEST_FILE - 100),
        "a: 1\n" * 26_000,
        "a: *b\n" * 20_000,
        "\x01" * 100_000,
        "a: (" * 30_000,
        "distributions:\n" + "".join(f"  q_{n}: q_x{n}\n" for n in range(900)),
        "networks: {n: {layers: {" + ", ".join(f"r{n}: {{input: s{n}}}" for n in range(900)) + "}}}",
    ],
)
def test_what_is_long_is_refused_with_little_work(text: str) -> None:
    assert len(refused(text[:LARGEST_FILE])) <= MOST_PROBLEMS


@pytest.mark.parametrize("size", [10 << 20, 100 << 20])
def test_a_large_file_is_not_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.write(b"title: ")
        file.truncate(size)
    with calls_at_most(WORK), pytest.raises(SpecError, match="larger than 128 KiB"):
        load_spec(path)


def test_as_many_entries_as_anyone_needs() -> None:
    text = BASE.read_text(encoding="utf-8")
    constants = ", ".join(f"C{n}: {n}" for n in range(MOST_ENTRIES - 1))
    load_text(text.replace("constants: {K: 10}", f"constants: {{K: 10, {constants}}}"))
    assert "more than 1,000 entries" in refused(f"constants: {{K: 1, L: 2, {constants}}}")[0].message


def test_more_problems_than_anyone_reads_are_cut_and_said_to_be() -> None:
    with pytest.raises(SpecError) as caught:
        load_text("".join(f"a{n}: 1\n" for n in range(900)))
    assert len(caught.value.diagnostics) == MOST_PROBLEMS
    assert str(caught.value).endswith(f"there are more problems than these {MOST_PROBLEMS}")


@pytest.mark.parametrize(
    "value",
    [
        *(
            "9**9**9",
            "9 ** 9",
            "1e400",
            "10 * 1e300 * 1e300",
            "9" * 5000,
            "1e99999999",
            "1e-400",
            "nan",
            ".nan",
            ".inf",
            "-.inf",
        ),
        *(
            "inf",
            "-1",
            "0x7fffffffffffffff",
            "1e300",
            "1e16",
            "1/3",
            "(" * 150,
            "-" * 191 + "1",
            "1 if 1 else 2",
            "__import__('os')",
        ),
    ],
)
def test_numbers_are_bounded(value: str) -> None:
    with calls_at_most(WORK), pytest.raises(SpecError):
        compile_spec(load_spec(BASE, [f"networks.critic.layers.h1.channels={value}"]))


@pytest.mark.parametrize("channels", ["1e12", "1000000000000", "1e6 * 1e6", "K * 1e11"])
def test_a_trillion_channels_are_refused_by_their_memory(channels: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(BASE), "--set", f"networks.critic.layers.h1.channels={channels}"]) == 1
    shown = capsys.readouterr().out
    assert "error[too-large]: a step of training needs about 4.1 PiB of memory" in shown
    assert "--set:1:36" in shown


def test_names_are_bounded() -> None:
    text = BASE.read_text(encoding="utf-8")
    longest = "L" * 64
    load_text(text.replace("constants: {K: 10}", f"constants: {{K: 10, {longest}: 1}}"))
    (problem,) = refused(text.replace("constants: {K: 10}", f"constants: {{K: 10, {longest}L: 1}}"))
    assert (problem.code, problem.expected) == (
        "bad-name",
        "a letter, then letters, digits and `_`, at most 64 characters",
    )


def test_long_lines_and_texts_are_shown_in_part() -> None:
    text = f"{{ammgraph: 1, {'a' * 3000}: 1, seed: 2}}"
    with pytest.raises(SpecError) as caught:
        load_text(text)
    assert max(len(line) for line in str(caught.value).split("\n")) < 600
    (excerpt,) = [line for line in str(caught.value).split("\n") if "seed: 2" in line and "|" in line][:1]
    assert len(excerpt) < 300


# ------------------------------------------------------------------------------------------------ work


def changed(**sections: object) -> str:
    """The base with entries added to its sections."""
    spec = plain(parse(BASE.read_text(encoding="utf-8"), "base.yaml")[0])  # type: ignore[arg-type]
    for name, entries in sections.items():
        spec[name] |= entries
    return json.dumps(spec)


def test_exact_numbers_have_a_bound_on_their_digits_and_nothing_follows_from_one_that_is_refused() -> None:
    constants = {"a0": "1/3"} | {f"a{n}": f"a{n - 1} * a{n - 1} + 1/7" for n in range(1, 60)}
    (problem,) = refused(changed(constants=constants))
    assert (problem.code, problem.message) == ("notation", "the exact value has more than 1,000 digits")
    (problem,) = refused(changed(constants={"a": "1e-999", "b": "a * a * a", "c": "b + 1", "d": "c * b"}))
    assert problem.message == "the number is too small"


@pytest.mark.parametrize(
    ("weight", "message"), [("1e999", "too large"), ("1e999 / 1e-999", "too large"), ("1e-999", "too small")]
)
def test_weights_of_a_side_are_bounded(weight: str, message: str) -> None:
    game = {"match": [f"{weight} q", "p"], "discriminator": "critic.p", "objective": "hinge"}
    (problem,) = refused(changed(games={"more": game}))
    assert problem.message == f"the number is {message}"


GAME = {"match": ["q", "p"], "discriminator": "critic.p", "objective": "hinge", "gradient_penalty": {"lambda": 1}}


@pytest.mark.parametrize(
    ("sections", "message", "place"),
    [
        (
            {"distributions": {f"p_{n}": "p" for n in range(900)}},
            "2,707 factors and games are too many",
            "distributions",
        ),
        ({"games": {f"g{n}": GAME for n in range(900)}}, "907 factors and games are too many", "games"),
        (
            {"training": {"schedule": [{"update": ["critic"]}] * 999}, "games": {f"g{n}": GAME for n in range(9)}},
            "a step would compute 97,902 rows of networks",
            "schedule",
        ),
    ],
)
def test_what_a_step_consists_of_is_counted_before_it_is_planned(
    sections: dict[str, object], message: str, place: str
) -> None:
    text = changed(**sections)
    (problem,) = refused(text)
    assert (problem.code, problem.message) == ("too-large", message)
    assert text[problem.span.column - 1 : problem.span.end_column - 1] == f'"{place}"'


def test_the_nearest_name_is_sought_among_few_and_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    ratio = difflib.SequenceMatcher.ratio

    def counted(matcher: difflib.SequenceMatcher[str]) -> float:
        compared.append(str(matcher.a))
        return ratio(matcher)

    monkeypatch.setattr(difflib.SequenceMatcher, "ratio", counted)
    names = ["".join(order) for order in islice(permutations("abcdefghijkl"), 1, 900)]
    assert nearest("abcdefghijkk", names)
    assert 0 < len(set(compared)) <= 20
    assert nearest("constnt_17", [f"constant_{n}" for n in range(900)]) == "did you mean `constant_17`?"
    assert nearest("x" * 101, ["x" * 100]) == nearest("x" * 100, ["x" * 101]) == ""


def test_a_chain_of_specs_is_no_larger_than_one(tmp_path: Path) -> None:
    for number in range(3):
        padding = "# " + "x" * (LARGEST_FILE // 2 - 100)
        (tmp_path / f"{number}.yaml").write_text(f"ammgraph: 1\nextends: {number + 1}.yaml\n{padding}\n")
    with pytest.raises(SpecError, match="specs that extend each other are larger than 128 KiB together") as caught:
        load_spec(tmp_path / "0.yaml")
    assert [Path(problem.span.file).name for problem in caught.value.diagnostics] == ["1.yaml"]


# ------------------------------------------------------------------------------------------------ paths


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """inside/ with a base, and one beside it."""
    for folder in ("inside/deeper", "outside", "inside2"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("inside", "outside", "inside/deeper", "inside2"):
        (tmp_path / folder / "base.yaml").write_bytes(BASE.read_bytes())
    (tmp_path / "inside" / "link.yaml").symlink_to(tmp_path / "outside" / "base.yaml")
    (tmp_path / "inside" / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "inside" / "near.yaml").symlink_to("deeper/base.yaml")
    return tmp_path / "inside"


@pytest.mark.parametrize(
    "parent", ["base.yaml", "./deeper/base.yaml", "deeper/../base.yaml", "near.yaml", "{}/base.yaml"]
)
def test_extends_stays_in_the_folder(folders: Path, parent: str) -> None:
    path = folders / "child.yaml"
    path.write_text(f"ammgraph: 1\nextends: {parent.format(folders)}\n")
    load_spec(path)


@pytest.mark.parametrize(
    "parent",
    [
        "../outside/base.yaml",
        "{}/../outside/base.yaml",
        "link.yaml",
        "linked/base.yaml",
        "../inside2/base.yaml",
        "/etc/passwd",
    ],
)
def test_extends_leaves_the_folder_only_if_it_may(
    folders: Path, parent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folders / "child.yaml"
    path.write_text(f"ammgraph: 1\nextends: {parent.format(folders)}\n")
    with pytest.raises(SpecError, match="leads out of the spec's folder") as caught:
        load_spec(path)
    assert "root:" not in str(caught.value)
    for command in ("validate", "show"):
        assert main([command, str(path)]) == 1
        if parent != "/etc/passwd":
            assert main([command, str(path), "--allow-outside"]) == 0
    capsys.readouterr()


def test_a_parent_may_extend_what_lies_beside_the_first_spec(folders: Path) -> None:
    (folders / "deeper" / "middle.yaml").write_text("ammgraph: 1\nextends: ../base.yaml\n")
    (folders / "child.yaml").write_text("ammgraph: 1\nextends: deeper/middle.yaml\n")
    load_spec(folders / "child.yaml")
    with pytest.raises(SpecError, match="leads out"):
        load_spec(folders / "deeper" / "middle.yaml")


def test_a_chain_ends(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.yaml").write_text(f"ammgraph: 1\nextends: {number + 1}.yaml\n")
    with pytest.raises(SpecError, match="more than 20 specs extend each other"):
        load_spec(tmp_path / "0.yaml")


def test_a_relative_path_and_another_folder_make_no_difference(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folders / "child.yaml").write_text("ammgraph: 1\nextends: base.yaml\n")
    monkeypatch.chdir(folders)
    load_spec("child.yaml")
    monkeypatch.chdir(folders / "deeper")
    load_spec(os.path.join("..", "child.yaml"))


@pytest.mark.parametrize("file", ["/etc/passwd", "/dev/null", "/proc/self/environ", "/", "../../../../etc/passwd"])
@pytest.mark.parametrize("dataset", ["npz", "folder"])
def test_data_that_are_none_give_an_error_that_shows_nothing_of_them(
    file: str, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [f"data={{dataset: {dataset}, path: {file}}}", f"data.validation={1}"]
    words = [word for override in overrides for word in ("--set", override)]
    assert main(["train", str(BASE), *words, "--run-dir", str(tmp_path / "run")]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert "root:" not in shown
    assert "PATH=" not in shown
    assert not (tmp_path / "run").exists()
