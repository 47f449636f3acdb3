"""The Python interface: its names, what loads torch, and that it does what the commands do."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from tiny import LABELED, TINY, differences, trainer_of
from tiny_runs import lines_of, state_of

import ammgraph
from ammgraph.cli import main
from ammgraph.runs.record import read
from ammgraph.runs.run import read_options

ROOT = Path(__file__).parent.parent
SHORT = ("training.steps=3",)


def test_the_public_names_are_these() -> None:
    names = """Estimator Evaluation Model Plan Run RunError Spec SpecError __version__
               build compare compile_spec fit load_spec
               register_activation register_module register_objective"""
    assert ammgraph.__all__ == names.split()
    assert set(ammgraph.__all__) <= set(dir(ammgraph))
    assert all(getattr(ammgraph, name) is not None for name in ammgraph.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ammgraph' has no attribute 'trian'"):
        _ = ammgraph.trian


def test_a_spec_is_compiled_without_torch() -> None:
    code = (
        "import sys, ammgraph; plan = ammgraph.compile_spec(ammgraph.load_spec('specs/amm_digits.yaml'));"
        "plan._repr_html_(), plan._repr_svg_(), repr(plan), ammgraph.SpecError, ammgraph.Plan;"
        "assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_from_a_spec_to_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = ammgraph.load_spec(TINY, overrides=SHORT)
    lines: list[dict[str, object]] = []
    run = ammgraph.fit(spec, seed=4, log_every=2, report=lines.append)
    assert run == ammgraph.Run("runs/tiny-1")
    assert [line["step"] for line in lines if "evaluation" not in line] == [2, 3]
    assert read(run.folder / "metrics.jsonl") == lines
    assert run.plan == ammgraph.compile_spec(spec)
    assert run.spec.training.steps == 3
    found = run.evaluate(split="validation")
    assert (found.step, found.seed, found.split) == (3, 4, "validation")
    assert ammgraph.Run(str(run.folder)).evaluate(split="validation").results == found.results


def test_it_is_the_run_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ammgraph.fit(ammgraph.load_spec(TINY, SHORT), run_dir=tmp_path / "a", seed=2, log_every=1)
    words = ["train", str(TINY), "--set", *SHORT, "--seed", "2", "--log-every", "1", "--run-dir", str(tmp_path / "b")]
    assert main(words) == 0
    capsys.readouterr()
    assert differences(state_of(run.folder), state_of(tmp_path / "b")) == []
    assert lines_of(run.folder) == lines_of(tmp_path / "b")
    assert (run.folder / "plan.txt").read_bytes() == (tmp_path / "b" / "plan.txt").read_bytes()


def test_a_path_stands_for_its_spec_and_the_run_says_how_it_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    (tmp_path / "tiny.yaml").write_bytes(TINY.read_bytes())
    path.write_text("ammgraph: 1\nextends: tiny.yaml\ntraining: {steps: 1}\n")
    run = ammgraph.fit(path, run_dir=tmp_path / "run", seed=3)
    settings = read_options(run.folder)
    assert settings.name == "mine"
    assert settings.command == f"ammgraph train {run.folder}/spec.json --seed 3 --precision float32"


def test_the_models_of_one_seed_are_one() -> None:
    for path in (TINY, LABELED):
        trainer = trainer_of(path, seed=5)
        plan = trainer.plan
        assert differences(dict(ammgraph.build(plan, seed=5).state_dict()), dict(trainer.model.state_dict())) == []
    assert differences(dict(ammgraph.build(plan, seed=6).state_dict()), dict(trainer.model.state_dict()))


def test_the_model_of_a_run_has_its_last_weights(tmp_path: Path) -> None:
    run = ammgraph.fit(ammgraph.load_spec(TINY, SHORT), run_dir=tmp_path)
    assert differences(dict(run.model("cpu").state_dict()), dict(state_of(tmp_path)["model"])) == []


def test_an_interrupt_saves_and_resume_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    spec = ammgraph.load_spec(TINY)

    def interrupt(line: dict[str, object]) -> None:
        if line["step"] == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(
        KeyboardInterrupt, match=re.escape(f"saved at step 5; go on with ammgraph.Run('{tmp_path}/a').resume()")
    ):
        ammgraph.fit(spec, run_dir=tmp_path / "a", log_every=5, report=interrupt)
    resumed = ammgraph.Run(tmp_path / "a").resume()
    straight = ammgraph.fit(spec, run_dir=tmp_path / "b", log_every=5)
    assert differences(state_of(resumed.folder), state_of(straight.folder)) == []
    assert lines_of(resumed.folder) == lines_of(straight.folder)


def test_a_run_can_be_trained_longer(tmp_path: Path) -> None:
    run = ammgraph.fit(ammgraph.load_spec(TINY, SHORT), run_dir=tmp_path)
    assert lines_of(run.resume(["training.steps=4"]).folder)[-1]["step"] == 4


def test_training_works_outside_the_main_thread(tmp_path: Path) -> None:
    """Where Python takes no signals."""
    spec = ammgraph.load_spec(TINY, ["training.steps=1"])
    thread = threading.Thread(target=lambda: ammgraph.fit(spec, run_dir=tmp_path))
    thread.start()
    thread.join()
    assert state_of(tmp_path)["step"] == 1


def test_errors_are_those_of_the_commands(tmp_path: Path) -> None:
    with pytest.raises(ammgraph.SpecError, match=r"error\[unreadable-spec\]"):
        ammgraph.fit(tmp_path / "absent.yaml")
    with pytest.raises(ammgraph.RunError, match=r"is no run directory: it has no run\.json"):
        _ = ammgraph.Run(tmp_path).spec
    with pytest.raises(ammgraph.RunError, match="`tpu` is no device"):
        ammgraph.fit(TINY, run_dir=tmp_path / "run", device="tpu")
    assert not (tmp_path / "run").exists()
    assert torch.is_grad_enabled()


# ------------------------------------------------------------------------------------------------ what is shown


def test_a_spec_and_a_plan_are_a_few_lines() -> None:
    spec = ammgraph.load_spec(LABELED)
    assert repr(spec) == str(spec)
    assert repr(spec).splitlines() == [
        f"Spec: {LABELED}",
        "  x image 1x8x8",
        "  y categorical 10",
        "  z real 4",
        "  q_unlabeled = q(x) q(y|x) q(z|x)",
        "  q_labeled = q(x,y) q(z|x)",
        "  p_unlabeled = p(y) p(z|y) p(x|y,z)",
        "  p_labeled = p_unlabeled",
        "  encoder 5 rows",
        "  components 3 rows",
        "  decoder 2 rows",
        "  critic 3 rows",
        "  unlabeled q_unlabeled against p_unlabeled critic.p jensen_shannon",
        "  labeled q_labeled against p_labeled critic.p jensen_shannon",
    ]
    lines = repr(ammgraph.compile_spec(ammgraph.load_spec(TINY))).splitlines()
    assert lines[:3] == ["Plan: tiny", "  q  = q(x) q(y|x) q(z|x)", "  p  = p(y) p(z|y) p(x|y,z)"]
    assert lines[-2].split() == ["sum", "4,224"]
    assert lines[-1] == "  game joint  q against p  critic.p  jensen_shannon  gradient_penalty"


def test_a_notebook_shows_tables_and_a_picture_and_no_markup_of_a_title() -> None:
    spec = ammgraph.load_spec(TINY, ["title=<script>alert(1)</script> & more"])
    plan = ammgraph.compile_spec(spec)
    for shown in (spec._repr_html_(), plan._repr_html_(), plan._repr_svg_()):
        tree = ElementTree.fromstring(shown)
        assert "script" not in {element.tag.rpartition("}")[2] for element in tree.iter()}
        assert "<script>alert(1)</script> & more" in "".join(tree.itertext())
    cells = [cell.text for cell in ElementTree.fromstring(plan._repr_html_()).iter("td")]
    assert cells[cells.index("encoder") : cells.index("encoder") + 2] == ["encoder", "1,346"]
