"""Find the topics of a prompt: its runs of nouns, without the verbs of the task and the words of its form.

There is no grammar in it but word lists and their neighbours: an article makes a noun of "plan", a "to" a verb.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from agentic_synth.offline import lexicon
from agentic_synth.offline.lexicon import MODIFIERS, NOUN_LIKE_VERBS, PURE_VERBS, STOP_WORDS
from agentic_synth.offline.words import Word

__all__ = ["Noun", "read_nouns"]

_MAX_WORDS = 3
_OPENED, _CLOSED = ('"', "“", "«"), ('"', "”", "»")
_STOPS = (".", "!", "?")
_STARTS = ("\n", ":")
_TITLES = frozenset({"st.", "mt.", "dr.", "mr.", "mrs.", "ms.", "ft.", "prof."})
_ARTICLES = lexicon.words("articles")
_OPENING = _ARTICLES | lexicon.words("prepositions")
"""Word after which a verb's form is a noun."""
_TOLD_AFTER = frozenset({"about", "regarding", "concerning", "describing", "explaining"})
_ENDS_TOLD = lexicon.words("ends_told")
_PASSED = lexicon.words("passed")
"""Word that may stand between an article and its noun."""
_ACTING = lexicon.words("before_verbs") | {"\n"}
"""Word after which an unknown word with an object is a verb, as it is at the start of a sentence."""
_NOUNS_IN_ING = lexicon.words("nouns_in_ing")
_COUNTING = lexicon.words("counting")
_NO_ADVERBS = lexicon.words("nouns_in_ly")
_OBJECTS = _ARTICLES | frozenset({"me", "us", "how", "what", "whether", "why"})
_TOPIC_LABELS = lexicon.words("topic_labels")
_FORM_LABELS = lexicon.words("form_labels")


class Noun(NamedTuple):
    """A run of nouns and the adjectives before them.

    *is_definite* says that an article stood before it, *is_told* that the prompt is about it by its own words.
    """

    text: str
    is_definite: bool
    is_told: bool


def read_nouns(words: list[Word], forms: Container[str]) -> list[Noun]:
    """The runs of nouns among *words*, in their order; words among *forms* (genres) are none."""
    reader = _Reader(words, forms)
    for index in range(len(words)):
        reader.read(index)
    reader.end_run()
    return reader.found


class _Reader:
    """Where the reading stands: the run so far, and what the words before it allow."""

    def __init__(self, words: list[Word], forms: Container[str]) -> None:
        self.found: list[Noun] = []
        self._words = words
        self._forms = forms
        self._run: list[str] = []
        self._before = "\n"
        self._is_definite = self._is_told = self._is_skipping = self._is_first = False

    def read(self, index: int) -> None:
        raw, bare, lowered = self._words[index]
        if raw == "\n":
            self._end_sentence()
            return
        if raw[-1] == ":" and (self._before in _STARTS or lowered in _TOPIC_LABELS or lowered in _FORM_LABELS):
            self._read_label(lowered)
            return
        before = self._before
        if not self._is_skipping:
            self._read_word(index, raw, bare, lowered)
        if raw != bare and self._is_end(raw):
            return
        is_between = before in _ARTICLES and not self._run and (lowered in _PASSED or lowered in MODIFIERS)
        self._before = before if is_between else lowered

    def _is_end(self, raw: str) -> bool:
        """Whether *raw* ends its sentence, or the part of it before a colon."""
        if raw[-1] == ":":
            self.end_run()
            self._before = ":"
            return True
        is_last = raw.rstrip("\"')]”’").endswith(_STOPS) and raw.lower() not in _TITLES
        if is_last:
            self._end_sentence()
        return is_last

    def end_run(self) -> None:
        run = self._run
        self._run = []
        while run and (run[-1].lower() in MODIFIERS or _is_modifying(run[-1])):
            run.pop()
        if run:
            if self._is_first and not run[0].isupper() and not any(word[0].isupper() for word in run[1:]):
                run[0] = run[0].lower()
            self.found.append(Noun(" ".join(run), self._is_definite, self._is_told))

    def _end_sentence(self) -> None:
        self.end_run()
        self._is_skipping = self._is_told = False
        self._before = "\n"

    def _read_label(self, lowered: str) -> None:
        """After "topic" and a colon stands what the prompt is about, after "style" what says nothing of that."""
        self._run = []
        self._is_told = lowered in _TOPIC_LABELS
        self._is_skipping = lowered in _FORM_LABELS
        self._before = ":"

    def _read_word(self, index: int, raw: str, bare: str, lowered: str) -> None:
        is_title = raw != bare and raw.lower() in _TITLES
        if not is_title and not self._is_noun(index, bare, lowered):
            if self._run:
                self.end_run()
            self._after_no_noun(lowered)
            return
        is_quoted = raw.startswith(_OPENED) and raw.rstrip(".,;:!?").endswith(_CLOSED)
        if not self._run:
            self._is_definite = self._before in _ARTICLES
            self._is_first = self._before == "\n"
        self._run.append(raw if is_title else bare)
        if is_title:
            return
        if not raw.endswith(bare) or len(self._run) == _MAX_WORDS:
            self._is_told, before = self._is_told or is_quoted, self._is_told
            self.end_run()
            self._is_told = before

    def _after_no_noun(self, lowered: str) -> None:
        if lowered in _TOLD_AFTER:
            self._is_told = True
        elif lowered in _ENDS_TOLD or lowered in PURE_VERBS or lowered in NOUN_LIKE_VERBS:
            self._is_told = False

    def _has_place_for_noun(self, lowered: str) -> bool:
        """Whether a word that may be a verb is none here: "the plan", "travel plans", but "volcanoes work"."""
        if self._run:
            return lowered.endswith("s") or not self._run[-1].endswith("s")
        return self._before == ":" or self._before in _OPENING or self._before in MODIFIERS

    def _is_noun(self, index: int, bare: str, lowered: str) -> bool:
        if lowered in self._forms:
            return self._is_told and self._before in _OPENING and not self._run
        if len(bare) < 3 or lowered in STOP_WORDS or not _is_word(bare):
            return False
        if lowered in PURE_VERBS:
            return lowered in _NOUNS_IN_ING or (self._before in _ARTICLES and lowered.endswith("ing"))
        if lowered in NOUN_LIKE_VERBS:
            return self._has_place_for_noun(lowered)
        if lowered.endswith("ly") and len(lowered) > 5 and lowered not in _NO_ADVERBS:
            return False
        may_act = self._before in _ACTING and self._words[index].raw[-1].isalpha()
        return not (may_act and index + 1 < len(self._words) and self._words[index + 1].lowered in _OBJECTS)


def _is_modifying(word: str) -> bool:
    """Whether the ending is an adjective's or a participle's."""
    return len(word) > 5 and word.endswith(("ed", "ous", "ical", "less")) and not word.endswith("eed")


def _is_word(bare: str) -> bool:
    """Whether it is made of letters; "one-sentence" and its like are lengths."""
    if bare.isalpha():
        return True
    if bare.partition("-")[0].lower() in _COUNTING:
        return False
    return bare.replace("-", "").replace("'", "").replace("’", "").isalpha()
