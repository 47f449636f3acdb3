"""What commands write where a user says, and what they read that strangers wrote: nothing is lost, nothing is a bug."""

import csv
import errno
import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY
from tiny_runs import Run, files_of

from ammgraph.api.run import Run as OfPython
from ammgraph.diagnostics import RunError

OUTPUTS = (
    ("encode", "{run}", "one.png", "--output", "out.csv"),
    ("encode", "{run}", "one.png", "--output", "out.npz"),
    ("sample", "{run}", "--output", "out.png"),
    ("sample", "{run}", "--output", "out.npz"),
    ("report", "{run}", "--no-map", "--output", "out.html"),
)


@pytest.fixture
def image(ammgraph: Run) -> Path:
    """In the folder of the command."""
    Image.new("L", (8, 8)).save("one.png")
    return Path("one.png")


def words(arguments: tuple[str, ...], run: Path) -> list[str]:
    return [word.format(run=run) for word in arguments]


# ------------------------------------------------------------------------------------------------ what is written


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("arguments", OUTPUTS, ids=lambda arguments: f"{arguments[0]} {arguments[-1]}")
def test_a_command_replaces_what_it_has_written_and_nothing_else_unless_told(
    arguments: tuple[str, ...], ammgraph: Run, finished: Path
) -> None:
    output = Path(arguments[-1])
    assert ammgraph(*words(arguments, finished)) == (0, f"{output}\n", "")
    first = output.read_bytes()
    assert ammgraph(*words(arguments, finished)) == (0, f"{output}\n", "")
    assert output.read_bytes() == first
    output.write_bytes(b"image,label\r\n1,2\r\n")
    code, out, err = ammgraph(*words(arguments, finished))
    assert (code, out) == (1, "")
    assert err == (
        f"error: {output} is there already, and is not what this command writes; name another with `--output`, or "
        "replace it with `--force`\n"
    )
    assert output.read_bytes() == b"image,label\r\n1,2\r\n"
    assert ammgraph(*words(arguments, finished), "--force") == (0, f"{output}\n", "")
    assert output.read_bytes() == first


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("arguments", OUTPUTS, ids=lambda arguments: f"{arguments[0]} {arguments[-1]}")
def test_a_full_disk_leaves_what_was_there(
    arguments: tuple[str, ...], ammgraph: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Path(arguments[-1])
    assert ammgraph(*words(arguments, finished))[0] == 0
    before = files_of(Path())

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    code, out, err = ammgraph(*words(arguments, finished))
    assert (code, out) == (1, "")
    assert err.endswith(
        f"{output.with_suffix('.npz' if output.suffix == '.html' else output.suffix)}: No space left on device\n"
    )
    assert files_of(Path()) == before


@pytest.mark.parametrize(
    "arguments", [("new", "a.yaml", "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)"), ("copy", "ali_mnist")]
)
def test_a_full_disk_leaves_no_part_of_a_new_file(
    arguments: tuple[str, ...], ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    code, out, err = ammgraph(*arguments)
    assert (code, out) == (1, "")
    assert err.endswith("cannot be written: no space left on device\n")
    assert list(Path().iterdir()) == []


def test_an_export_is_written_whole_or_not_at_all(
    ammgraph: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, refused = os.fsync, []

    def refuse(file: int) -> None:
        if "weights.pt" in os.readlink(f"/proc/self/fd/{file}"):
            refused.append(file)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        code, out, err = ammgraph("export", finished, "--output", "program")
    assert (code, out, err) == (1, "", "error: cannot write the export to program: Input/output error\n")
    assert len(refused) == 1
    assert list(Path("program").iterdir()) == []
    assert ammgraph("export", finished, "--output", "program")[0] == 0


def test_what_is_read_is_never_replaced(ammgraph: Run, finished: Path) -> None:
    np.savez("images.npz", images=np.zeros((3, 8, 8), np.uint8))
    os.link("images.npz", "same.npz")
    before = files_of(Path())
    for output in ("images.npz", "./images.npz", "same.npz"):
        for force in ((), ("--force",)):
            code, out, err = ammgraph("encode", finished, "images.npz", "--output", output, *force)
            assert (code, out) == (1, "")
            assert (
                err == f"error: {Path(output)} is what is read, and is never replaced; name another with `--output`\n"
            )
    assert files_of(Path()) == before


def test_images_of_sample_are_not_replaced_by_codes_of_encode(ammgraph: Run, finished: Path) -> None:
    assert ammgraph("sample", finished, "--output", "images.npz")[0] == 0
    before = files_of(Path())
    assert ammgraph("encode", finished, "images.npz", "--output", "codes.npz")[0] == 0
    assert ammgraph("sample", finished, "--output", "codes.npz")[0] == 1
    assert ammgraph("encode", finished, "codes.npz", "--output", "images.npz")[0] == 1
    assert files_of(Path())["images.npz"] == before["images.npz"]


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    ("header", "replaced"),
    [
        ("image,y,y_posterior_0,y_posterior_1,z_0,y_class\r\n", True),  # of another model
        ("image,z_0,z_1\r\n", True),
        ("image,y,y_posterior_0,y_posterior_1,mine\r\n", False),  # a column of the user's
        ("image,y\r\n", False),
        ("image\r\n", False),
        ("image,y,y_posterior_0\n", False),  # written again by another program
        ("", False),
    ],
)
def test_a_table_is_known_by_its_columns(header: str, replaced: bool, ammgraph: Run, finished: Path) -> None:
    Path("codes.csv").write_bytes(header.encode())
    assert (ammgraph("encode", finished, "one.png", "--output", "codes.csv")[0] == 0) == replaced


def test_names_of_images_are_no_formulas_and_move_no_cursor(ammgraph: Run, finished: Path) -> None:
    Path("images").mkdir()
    names = ["=1+1.png", "+a.png", "-a.png", "@a.png", "a\n=b.png", "\x1b[2J.png", "plain, é.png"]
    for name in [*map(os.fsencode, names), b"caf\xe9.png"]:
        with open(b"images/" + name, "wb") as file:
            Image.new("L", (8, 8)).save(file, format="PNG")
    assert ammgraph("encode", finished, "images", "--output", "codes.csv") == (0, "codes.csv\n", "")
    text = Path("codes.csv").read_text(encoding="utf-8")
    assert "\x1b" not in text
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert {row["image"] for row in rows} == {
        *("'=1+1.png", "'+a.png", "'-a.png", "'@a.png", "a\\n=b.png", "\\x1b[2J.png", "plain, é.png", "caf\\udce9.png"),
    }
    assert all(float(row["z_0"]) is not None for row in rows)  # a minus begins a number, which stays one
    assert ammgraph("encode", finished, "images", "--output", "codes.npz")[0] == 0
    with np.load("codes.npz") as arrays:
        assert "caf\\udce9.png" in arrays["image"].tolist()


# ------------------------------------------------------------------------------------------------ read-only runs


def test_a_run_that_may_only_be_read_is_evaluated_and_reported_elsewhere(
    ammgraph: Run, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ammgraph("evaluate", copied)[1]
    (copied / "evaluation.json").unlink()
    access, opened = os.access, os.open

    def refuse(path: object, flags: int, *more: int, **others: object) -> int:
        if str(path).startswith(str(copied)) and flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != copied and access(path, mode))
    before = files_of(copied)
    warning = f"warning: cannot write {copied / 'evaluation.json'}: Read-only file system; what was found is not kept\n"
    assert ammgraph("evaluate", copied) == (0, expected, warning)
    assert ammgraph("report", copied, "--no-map") == (
        1,
        "",
        f"error: cannot write {copied / 'report.html'}: the folder {copied} may not be written in; name another with "
        "`--output`\n",
    )
    assert ammgraph("report", copied, "--no-map", "--output", "page.html") == (0, "page.html\n", "")
    assert "in page.npz, beside this page" in Path("page.html").read_text()
    assert Path("page.npz").is_file()
    assert files_of(copied) == before


def test_a_page_has_the_name_of_a_page(ammgraph: Run, finished: Path) -> None:
    code, out, err = ammgraph("report", finished, "--output", "page.pdf")
    assert (code, out, err) == (1, "", "error: `page.pdf`: expected a name that ends in .html\n")


# ------------------------------------------------------------------------------------------------ what strangers wrote


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"format": 1, "results": ' + "[" * 100_000,
        '{"format": "\\u001b[2J"}',
        "null",
        '{"format": 1, "title": 3, "results": [], "classes": []}',
    ],
)
def test_a_strange_evaluation_is_no_bug(text: str, ammgraph: Run, copied: Path) -> None:
    file = copied / "evaluation.json"
    for arguments, expected in (
        (("compare", copied), 1),
        (("encode", copied, "one.png"), 0),
        (("report", copied, "--no-map"), 0),
        (("evaluate", copied), 0),
    ):
        file.write_text(text)
        code, out, err = ammgraph(*arguments)
        assert (code, "\x1b" in out + err, "Traceback" in err) == (expected, False, False), err
        if code:
            assert err.startswith(f"error: {file} ")


@pytest.mark.usefixtures("image")
def test_an_evaluation_that_names_classes_that_are_not_there_names_none(ammgraph: Run, copied: Path) -> None:
    file = copied / "evaluation.json"
    content = json.loads(file.read_text())
    for assignment in ([99] * 10, [0], [0] * 11):
        for result in content["results"]:
            if "assignment" in result:
                result["assignment"] = assignment
        file.write_text(json.dumps(content))
        assert ammgraph("encode", copied, "one.png") == (0, "encoded.csv\n", "")
        assert "y_class" not in Path("encoded.csv").read_text()


def test_a_title_with_control_characters_begins_no_line(ammgraph: Run, copied: Path) -> None:
    file = copied / "evaluation.json"
    content = json.loads(file.read_text())
    content["title"] = "a\n[2] other: 0.00 %\x1b[2J"
    content["results"][0]["by"] = "q\x1b[2J(y|x)\n"
    file.write_text(json.dumps(content))
    code, out, err = ammgraph("compare", copied)
    assert (code, err) == (0, "")
    assert out.startswith("[1] a\\n[2] other: 0.00 %\\x1b[2J: 1 run, ")
    assert "\x1b" not in out


def test_strange_metrics_are_left_out_and_no_bug(ammgraph: Run, copied: Path) -> None:
    file = copied / "metrics.jsonl"
    good = file.read_text()
    strange = [
        "[" * 100_000,
        '{"step": 3, "evaluation": 4}',
        '{"step": 3, "joint/accuracy": "high"}',
        '{"step": 4, "epoch": 0.1, "nobody/entropy": 0.5, "q.nobody/use": [1], "q.y/use": [0.5]}',
        '{"step": 5, "epoch": 0.2, "nobody/entropy": 0.5, "q.nobody/use": [1], "q.y/use": [0.5, 0.5]}',
        '{"step": 0, "epoch": 7, "seconds_per_step": 1e99, "evaluation": {"examples": 0.5, "\\u001b/x_error": 1}}',
        '{"step": 9223372036854775807, "epoch": 7, "seconds_per_step": -1, "evaluation": {"\\u001b/x_error": 1}}',
    ]
    for arguments in (("report", copied, "--no-map"), ("compare", copied)):
        file.write_text("\n".join([*strange, good]))
        code, out, err = ammgraph(*arguments)
        assert (code, err) == (0, f"warning: {file}: damaged lines are left out: 3\n")
        assert "\x1b" not in out


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", -1, "`seed`: Input should be greater than or equal to 0"),
        ("seed", 2**63, "`seed`: Input should be less than"),
        ("log_every", 0, "`log_every`: Input should be greater than or equal to 1"),
        ("checkpoint_seconds", -1, "`checkpoint_seconds`: Input should be greater than or equal to 0"),
        ("precision", "\x1b[2J", "`precision`: Input should be 'float32', 'tf32', 'bfloat16' or 'float64'"),
        ("command", None, "`command`: Input should be a valid string"),
    ],
)
def test_strange_options_of_a_run_are_told(name: str, value: object, message: str, ammgraph: Run, copied: Path) -> None:
    file = copied / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    for arguments in (("evaluate", copied), ("train", "--resume", copied), ("compare", copied), ("sample", copied)):
        code, out, err = ammgraph(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {file} is damaged: {message}")


def test_a_strange_environment_is_left_out(ammgraph: Run, copied: Path) -> None:
    for text in ("[" * 100_000, '{"processes": 1e400}', '{"processes": "\\u001b"}', '{"device": {"a": [1]}}'):
        (copied / "environment.json").write_text(text)
        assert ammgraph("report", copied, "--no-map")[0] == 0
        assert ammgraph("train", "--resume", copied)[0] == 0


def test_a_pipe_or_a_socket_among_images_is_told(ammgraph: Run, finished: Path) -> None:
    Path("data/a").mkdir(parents=True)
    Image.new("L", (8, 8)).save("data/a/0.png")
    os.mkfifo("data/a/1.png")
    with socket.socket(socket.AF_UNIX) as place:
        place.bind("images.npz")
    os.mkfifo("data.npz")
    train = ("train", TINY, "--set", "data.dataset=folder", "--set", "data.path=data")
    for arguments, message in (
        (("encode", finished, "data"), "data/a/1.png is a named pipe, and is not read; remove it, or give a file"),
        (
            ("encode", finished, "data/a/1.png"),
            "data/a/1.png is a named pipe, and is not read; remove it, or give a file",
        ),
        (("encode", finished, "images.npz"), "images.npz is a socket, and is not read; remove it, or give a file"),
        (train, "data/a/1.png is a named pipe, and is not read; remove it, or give a file"),
        ((*train[:-3], "data.dataset=npz", "--set", "data.path=data.npz"), "data.npz is a named pipe, and is not read"),
    ):
        code, out, err = ammgraph(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {message}")


# ------------------------------------------------------------------------------------------------ what misleads


@pytest.mark.usefixtures("ammgraph")
def test_where_one_run_is_meant_a_folder_of_trials_says_how_to_name_its_runs(finished: Path) -> None:
    Path("five").mkdir()
    Path("five/trials.json").write_text("{}")
    with pytest.raises(RunError) as error:
        OfPython("five").evaluate()
    assert str(error.value) == "five holds trials, of which none has begun; `ammgraph train --resume five` trains them"
    for seed in (10, 9):
        shutil.copytree(finished, f"five/seed-{seed}")
    with pytest.raises(RunError) as error:
        OfPython("five").evaluate()
    assert str(error.value) == (
        "five holds trials, a run directory each: name one, as five/seed-9, or give all of them to "
        "`ammgraph compare five`"
    )


@pytest.mark.parametrize("verb", ["evaluate", "report", "compare", "sample", "encode", "export"])
def test_damaged_trials_are_told_by_their_file(verb: str, ammgraph: Run, finished: Path) -> None:
    shutil.copytree(finished, "five/seed-9")
    Path("five/trials.json").write_text("{}")
    words = (verb, "five", "one.png") if verb == "encode" else (verb, "five")
    code, out, err = ammgraph(*words)
    assert (code, out, err) == (1, "", "error: five/trials.json is damaged: `seeds`: Field required\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", TINY, "--run-dir", ""),
        ("train", TINY, "--data-dir", ""),
        ("train", ""),
        ("train", "--resume", ""),
        ("validate", ""),
        ("evaluate", ""),
        ("compare", "a", ""),
        ("sample", "a", "--output", ""),
        ("encode", "a", ""),
        ("export", "a", "--output", ""),
        ("copy", "ali_mnist", ""),
        ("new", "", "--q", "q(x)", "--p", "p(x)"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:1] + arguments[2:])),
)
def test_an_empty_path_is_a_wrong_usage(arguments: tuple[object, ...], ammgraph: Run) -> None:
    code, out, err = ammgraph(*arguments)
    assert (code, out) == (2, "")
    assert err.endswith(": expected a path, found an empty text\n")
    assert list(Path().iterdir()) == []


def test_images_of_one_label_make_errors_void(ammgraph: Run) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez("one.npz", x_train=images, y_train=np.zeros(60, np.int64))
    more = ("data.dataset=npz", "data.path=one.npz", "data.validation=0", "training.batch_size=20", "training.steps=4")
    code, out, err = ammgraph("train", TINY, "--run-dir", "run", *(word for value in more for word in ("--set", value)))
    assert code == 0, err
    why = "void: the images have one label in all, with which everything agrees"
    assert "y/one_to_one_error void" in err
    assert out.startswith("clustering error of y, one-to-one, by q(y|x)  void, on 60 training images\n")
    _, out, _ = ammgraph("evaluate", "run")
    assert out.partition("\nhealth: ")[0].splitlines()[-1] == f"  {why}"
    void = [line for line in out.splitlines() if " of y" in line and " error " in f" {line} "]
    assert len(void) == 8
    assert all(line.endswith("  void") for line in void)
    content = json.loads(Path("run/evaluation.json").read_text())
    numbers = {result["name"]: result for result in content["results"]}
    assert (numbers["nmi"]["value"], numbers["nmi"]["void"]) == (None, why.removeprefix("void: "))
    assert numbers["reconstruction_error"]["value"] > 0
    code, out, err = ammgraph("compare", "run")
    assert (code, out.splitlines()[-1]) == (0, why)
    assert ammgraph("report", "run", "--no-map")[0] == 0
    page = Path("run/report.html").read_text()
    assert f"V{why[1:]}." in page
    assert "<strong>void</strong>" in page
