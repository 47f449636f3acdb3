"""`ammgraph completion`: a script by which a shell completes what is typed.

It is made of the same `Options` that are parsed: verbs, options with what they do, their choices, the specs that ship.
Nothing of ammgraph runs while one types, so that a key answers at once.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module

from ammgraph.commands.arguments import Word, positional, words_of
from ammgraph.commands.verbs import VERBS
from ammgraph.spec.shipped import shipped_specs

EXAMPLE = "ammgraph completion bash >> ~/.bash_completion"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    shell: str = positional("whose script is printed", "SHELL", choices=("bash", "zsh", "fish"))


def run(options: Options) -> int:
    """0."""
    print("\n".join(_SCRIPTS[options.shell]()))
    return 0


def _words() -> dict[str, list[Word]]:
    return {verb: words_of(import_module(f"ammgraph.commands.{verb}").Options) for verb in VERBS}


def _names(verb: str) -> list[str]:
    """What is typed without a dash and is no file of the user's."""
    typed = [word for word in _words()[verb] if not word.flags]
    choices = [choice for word in typed for choice in word.choices]
    return [*choices, *(shipped_specs() if any(word.spec for word in typed) else ())]


def _bash() -> Iterator[str]:
    yield '# ammgraph in bash: eval "$(ammgraph completion bash)" in ~/.bashrc'
    yield "_ammgraph_files() {"
    yield '  local found; while IFS= read -r found; do COMPREPLY+=("$found"); done < <(compgen -f -- "$word")'
    yield "}"
    yield "_ammgraph() {"
    yield "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words="
    yield "  if [[ $COMP_CWORD -eq 1 ]]; then"
    yield f'    COMPREPLY=($(compgen -W "{" ".join(VERBS)} --help --version" -- "$word")); return'
    yield "  fi"
    yield "  COMPREPLY=()"
    yield from _values('  case "${COMP_WORDS[1]} $before" in', 'COMPREPLY=($(compgen -W "{}" -- "$word")); return')
    yield from _values('  case "${COMP_WORDS[1]} $before" in', "_ammgraph_files; return", chosen=False)
    yield '  case "${COMP_WORDS[1]} $word" in'
    for verb, words in _words().items():
        flags = [flag for word in words for flag in word.flags]
        yield f'    "{verb} -"*) words="{" ".join([*flags, "--help"])}";;'
        if names := _names(verb):
            yield f'    "{verb} "*) words="{" ".join(names)}";;'
    yield "  esac"
    yield '  COMPREPLY=($(compgen -W "$words" -- "$word"))'
    yield "  if [[ $word != -* ]]; then _ammgraph_files; fi"
    yield "}"
    yield "complete -o filenames -F _ammgraph ammgraph"


def _zsh() -> Iterator[str]:
    yield "#compdef ammgraph"
    yield '# ammgraph in zsh: eval "$(ammgraph completion zsh)" in ~/.zshrc, after compinit'
    yield "_ammgraph() {"
    yield "  local -a found"
    yield "  if (( CURRENT == 2 )); then"
    yield f"    found=({' '.join(shlex.quote(f'{verb}:{summary}') for verb, summary in VERBS.items())})"
    yield "    _describe command found; return"
    yield "  fi"
    yield from _values('  case "$words[2] $words[CURRENT-1]" in', "compadd -- {}; return")
    yield from _values('  case "$words[2] $words[CURRENT-1]" in', "_files; return", chosen=False)
    yield '  case "$words[2] $words[CURRENT]" in'
    for verb, words in _words().items():
        described = [shlex.quote(f"{flag}:{word.help}") for word in words for flag in word.flags]
        yield f'    "{verb} -"*) found=({" ".join(described)}); _describe -o option found; return;;'
        if names := _names(verb):
            yield f'    "{verb} "*) compadd -- {" ".join(names)};;'
    yield "  esac"
    yield "  _files"
    yield "}"
    yield "compdef _ammgraph ammgraph"


def _values(head: str, action: str, chosen: bool = True) -> Iterator[str]:
    """What may follow an option that takes one of some words, or any other value."""
    yield head
    for verb, words in _words().items():
        for word in words:
            if word.flags and word.takes and bool(word.choices) == chosen:
                patterns = "|".join(f'"{verb} {flag}"' for flag in word.flags)
                yield f"    {patterns}) {action.format(' '.join(word.choices))};;"
    yield "  esac"


def _fish() -> Iterator[str]:
    yield "# ammgraph in fish: ammgraph completion fish > ~/.config/fish/completions/ammgraph.fish"
    for verb, summary in VERBS.items():
        yield f"complete -c ammgraph -n __fish_use_subcommand -f -a {verb} -d {_fish_quoted(summary)}"
    for verb, words in _words().items():
        of_verb = f"complete -c ammgraph -n '__fish_seen_subcommand_from {verb}'"
        if names := _names(verb):
            yield f"{of_verb} -a {_fish_quoted(' '.join(names))}"
        for word in (word for word in words if word.flags):
            names_of = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in word.flags)
            values = f" -x -a {_fish_quoted(' '.join(word.choices))}" if word.choices else " -r" if word.takes else ""
            yield f"{of_verb} {names_of}{values} -d {_fish_quoted(word.help)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPTS: dict[str, Callable[[], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
