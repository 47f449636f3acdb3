"""A run as a few lines of JSON: what it is, one line for each epoch with an evaluation, and how it ended.

    tools/condense runs/amm_digits-1 > specs/results/amm_digits-0.jsonl

The first line names the spec and what was `--set` in it. An epoch's line has the losses of the last line of training
before it, averages over `log_every` steps, and what was measured on the images that are looked at in training. The last
line is the evaluation at the end. Numbers are rounded to five digits.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from ammgraph.folders import ENVIRONMENT, EVALUATION, METRICS, OPTIONS
from ammgraph.terminal import overrides_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    for line in condensed(parser.parse_args().run):
        print(json.dumps(line))


def condensed(run: Path) -> list[dict[str, Any]]:
    """The lines of a run directory."""
    options, environment = (json.loads((run / name).read_text()) for name in (OPTIONS, ENVIRONMENT))
    head = {key: options[key] for key in ("name", "seed", "precision")}
    head |= {key: environment[key] for key in ("torch", "threads", "device", "ammgraph")}
    head["set"] = overrides_of(options["command"])
    lines, losses = [head], {}
    for text in (run / METRICS).read_text().splitlines():
        line = json.loads(text)
        if "evaluation" in line:
            lines.append({key: line[key] for key in ("epoch", "step")} | losses | line["evaluation"])
        else:
            losses = {key: value for key, value in line.items() if "/" in key and "gradient_norm" not in key}
            losses["seconds_per_step"] = line["seconds_per_step"]
    if (run / EVALUATION).exists():
        found = json.loads((run / EVALUATION).read_text())
        results = [{key: result[key] for key in KEPT if key in result} for result in found["results"]]
        lines.append({"split": found["split"], "step": found["step"], "results": results})
    return [rounded(line) for line in lines]


KEPT = ("name", "variable", "by", "protocol", "fitted_on", "value")


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
