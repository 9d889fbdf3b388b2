"""``synth init``: the first files of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentic_synth.cli.terminal import say
from agentic_synth.errors import ConfigError

__all__ = ["init"]

RECIPE = """\
# A recipe is a table of columns: drawn, computed, or asked of a model. A row is made from top to bottom.
#   synth check tickets.yaml         is it right, and what will it make?
#   synth preview tickets.yaml       three rows, in full
#   synth generate tickets.yaml --out tickets.jsonl
recipe: tickets
rows: 20
seed: 7                      # the same seed gives the same rows

columns:
  # Drawn at random: choice, int, float, normal, date, uuid, sequence, person, ...
  product: {choice: [router, phone, tv], weights: [3, 5, 2]}
  tone: {choice: [calm, angry, confused]}
  customer: {person: full_name}

  # Asked of a model; {{ names }} are the columns above. The schema is kept to: an answer that does not fit is
  # repaired, corrected or asked again, and the row is never broken.
  ticket:
    prompt: |
      Write a support ticket about a {{ product }}. The customer, {{ customer }}, sounds {{ tone }}.
    schema:
      type: object
      required: [subject, body, priority]
      properties:
        subject: {type: string, maxLength: 80}
        body: {type: string}
        priority: {enum: [low, mid, high]}
    # parameters: {temperature: 0.9}

  # Computed from the columns above.
  length: {expression: ticket.body | length}

# Only rows for which all of these hold are kept; a rejected one is made anew.
accept:
  - ticket.body | length > 40
"""

SETTINGS = """\
# Settings of this project. Flags and variables (SYNTH_MODEL, ...) win over this file; `synth doctor` shows what holds.
# Keys never stand here: export OPENAI_API_KEY=..., or put it into .env beside this file.

# model = "openai/gpt-4.1-mini"        # without a model and a key, rows come from the offline generator
# base_url = "http://localhost:8000/v1"
# fallback = ["anthropic/claude-haiku-4-5"]

[engine]
# concurrency = 64                     # calls in flight; "auto" (the default) finds what the provider takes
# budget = "5usd"                      # a hard stop: 5usd, 2Mtok or 10000req a run

[store]
# path = "answers"                     # every paid answer is kept here and never paid twice

# [upstreams.lab]                      # a server of your own, used as lab/MODEL
# base_url = "http://lab:8000/v1"
# key_variable = "LAB_API_KEY"
# requests_per_minute = 600

# [prices."lab/my-model"]              # dollars a million tokens, where no price is known
# input = 0.2
# output = 0.8
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where to put them; made if missing.", metavar="FOLDER")] = Path(),
) -> None:
    """Write a starter recipe and settings.

    Both files (tickets.yaml, synth.toml) are commented, and nothing is ever overwritten.

    \b
      synth init
      synth generate tickets.yaml --out tickets.jsonl
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [_wrote(folder / name, text) for name, text in (("tickets.yaml", RECIPE), ("synth.toml", SETTINGS))]
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error.strerror}", mend="choose another folder") from error
    if any(written):
        say(f"\nnext: synth generate {folder / 'tickets.yaml'} --out tickets.jsonl")


def _wrote(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        say(f"kept  {path} (it is there already)")
        return False
    say(f"wrote {path}")
    return True
