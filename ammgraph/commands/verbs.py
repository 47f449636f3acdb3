"""What can be asked for: the name of each module of `commands/` that is a verb, and what it does."""

from ammgraph.folders import EVALUATION

VERBS: dict[str, str] = {
    "train": "train a spec, or go on with a run",
    "sweep": "try values of a spec, a run each, and find the best by validation examples",
    "validate": "check specs and say what is wrong, and where",
    "show": "print or draw what a spec means: factorizations, layer tables, games, step, LaTeX, cost",
    "diff": "what changes from one spec, or run, to another, as a model and not as text",
    "evaluate": f"score the newest checkpoint of a run, and write its {EVALUATION}",
    "report": "write one HTML page of a run: model, results, figures, how to reproduce it; or of a sweep",
    "compare": "a table of runs: mean and standard deviation over the seeds of each model",
    "sample": "draw images from the synthesis side of a run",
    "encode": "labels, posteriors and embeddings of your own images",
    "export": "write a run as a program that needs PyTorch alone: model.py and weights.pt",
    "specs": "list the specs that ship, with what was published; `ammgraph copy` copies one",
    "copy": "copy a spec that ships, and what it extends; nothing is overwritten",
    "new": "write a spec with comments from two factorizations, ready to train",
    "schema": "print the JSON Schema of specs, by which editors complete and explain keys",
    "explain": "say what a diagnostic means, with a wrong and a right example; without a code list all",
    "completion": "print a script by which bash, zsh or fish complete verbs, options and specs",
}
