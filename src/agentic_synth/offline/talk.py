"""What is said in a conversation: it opens, goes on and ends, and who asks does not sound like who helps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentic_synth.offline import lexicon, prose
from agentic_synth.offline.lexicon import ASKING, HELPING
from agentic_synth.offline.naming import singular, words_of
from agentic_synth.offline.scene import Scene, pick

__all__ = [
    "is_exchange",
    "is_side",
    "is_talk",
    "named_speaker",
    "said",
    "side_of",
    "tells_speaker",
    "transcript",
    "who_speaks",
]

_MOST_TURNS = 40
_TALKS = lexicon.words("talks")
_SPEAKERS = frozenset({"role", "speaker", "from", "sender", "author", "who", "side"})
_SPOKEN = frozenset({"content", "text", "message", "utterance", "value", "line", "said", "speech", "body"})
_MACHINES = frozenset({"assistant", "bot", "chatbot", "ai", "gpt"})
_TOLD_AS_SPEECH = ("say", "said", "speech", "spoken", "utter", "speak", "message", "reply", "repli", "respon", "words")


def is_talk(name: str) -> bool:
    """Whether a list called *name* holds the turns of a conversation."""
    words = words_of(name)
    return bool(words) and singular(words[-1]) in _TALKS


def is_exchange(fields: Iterable[str]) -> bool:
    """Whether an object with *fields* is one turn of a conversation, or one of each side."""
    names = {field.lower() for field in fields}
    has_both = not names.isdisjoint(ASKING) and not names.isdisjoint(_MACHINES)
    return has_both or (not names.isdisjoint({"role", "speaker"}) and not names.isdisjoint(_SPOKEN))


def is_side(name: str, description: str, low: int, high: int | None) -> bool:
    """Whether a text field outside of a known conversation, called after a person, holds what that person says."""
    words = words_of(name)
    if not words or words[-1] not in (ASKING | HELPING):
        return False
    lowered = description.lower()
    return low > 30 or (high is not None and high >= 200) or any(word in lowered for word in _TOLD_AS_SPEECH)


def tells_speaker(name: str) -> bool:
    """Whether the field called *name* says who speaks."""
    return name.lower() in _SPEAKERS


def side_of(name: str) -> int | None:
    """0 if the one called *name* asks, 1 if they help, None if neither is known; 2 stands for the turn's own side."""
    words = words_of(name)
    if words and words[-1] in ASKING:
        return 0
    if words and words[-1] in HELPING:
        return 1
    return 2 if words and (words[-1] in _SPOKEN or singular(words[-1]) in _TALKS) else None


def said(scene: Scene, side: int) -> str:
    """What one side says in this turn; side 2 is the one whose turn it is, the asking one first."""
    turn, turns = scene.turn, scene.turns
    if side == 2:
        side, turn, turns = turn % 2, turn // 2, (turns + 1 - turn % 2) // 2
    manner = ("ask", "help")[side]
    if turn == 0:
        return prose.say(scene, f"{manner} first")
    if turn >= turns - 1:
        return prose.say(scene, f"{manner} last")
    text = prose.say(scene, manner)
    return f"{text} {prose.say(scene, manner)}" if scene.random() < 0.25 else text


def who_speaks(scene: Scene, names: Sequence[str]) -> str:
    """Which of *names* speaks in this turn: the asking ones and the helping ones by turns."""
    sides = [[name for name in names if side_of(name) == side] for side in (0, 1)]
    return pick(scene, sides[scene.turn % 2] or names)


def named_speaker(scene: Scene) -> str:
    """The first name of who speaks in this turn; there are two."""
    return scene.person(f"side {scene.turn % 2}").first


def transcript(scene: Scene, _role: str = "") -> str:
    """A whole conversation, a line a turn; as many turns as the prompt says, else four or six."""
    turns = min(scene.counts.get("turn") or 4 + 2 * scene.below(2), _MOST_TURNS)
    lines = []
    for index in range(turns):
        scene.turn, scene.turns = index, turns
        lines.append(f"{('Customer', 'Agent')[index % 2]}: {said(scene, 2)}")
    scene.turn, scene.turns = 0, 1
    return "\n".join(lines)
