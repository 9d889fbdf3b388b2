"""How a prompt opens and closes: courtesy, and the many ways to open one question or one order."""

from __future__ import annotations

import re

from agentic_synth.policies.semantic.lexicon import NUMBERS

__all__ = ["is_order", "opening"]

_GIVE = (
    r"(?:give|write|provide|create|make|produce|generate|prepare|draft|show|do)(?: me| us)?(?: with)? (?:an? |the )?"
)
_ASK = r"(?:can|could|will|would)"
_BE = r"(?:'s| is| are|s)"
_SOMEBODY = r"(?:i|you|we|one|someone|somebody|people|a person)"
_ORDERS = (
    r"write|compose|draft|create|generate|produce|make|craft|give|provide|show|list|name|explain|describe|summari[sz]e|"
    r"sum|translate|compare|classify|categori[sz]e|rewrite|rephrase|paraphrase|suggest|recommend|calculate|compute|"
    r"help|tell|define|convert|sort|extract|find|fix|solve|design|build|plan|prepare|come|walk|outline|identify|answer"
)
_COURTESY = re.compile(
    rf"(?:(?:hey|hi|hello|please|pls|kindly|okay|ok|so|well|now|then|also)\b[ ,!.]*"
    rf"|{_ASK} (?:you|someone|anyone|anybody)(?: please| kindly| just)? (?=(?:please |help me )?(?:{_ORDERS})\b)"
    rf"|i(?: want| need| would like|'d like) you to |your task is to |you (?:must|should) (?=(?:{_ORDERS})\b)"
    rf"|(?:{_ASK} (?:you|anyone|someone) (?:please )?tell me|tell me|i(?: want|'d like| would like) to know|do you know"
    rf"|does anyone know|i wonder|let me know),? (?=what|who|when|where|why|how|which)"
    rf"|help me (?:to )?(?=(?:{_ORDERS})\b)|i(?: am|'m) (?:looking for|after) (?=an?\b|some\b))*",
)
_CLOSINGS = ("please", "pls", "thanks", "thank you", "thx", "for me", "if you can", "if possible", "in advance")
_OPENINGS = {
    "how": rf"how (?:do|can|could|should|would|might|does|must) {_SOMEBODY}\b|how to\b|how(?='s| is| are)|"
    rf"what(?:{_BE}) (?:the|a|some) (?:best |good |right |proper |correct |different )?ways? (?:to|of|for)\b|"
    rf"(?:the )?best ways? to\b|(?:tell|show|teach) me how (?:to|i can)\b|explain how (?:to|i can)\b",
    "why": rf"why\b|how come\b|what{_BE} the (?:main )?reasons? (?:why|that|for|behind)\b|explain why\b"
    r"|for what reason\b",
    "define": rf"define\b|what{_BE} the (?:definition|meaning) of\b|what{_BE} meant by\b"
    rf"|{_GIVE}definition (?:of|for)\b",
    "summarize": rf"summari[sz]e\b|sum up\b|{_GIVE}(?:summary|synopsis) (?:of|for)\b",
    "translate": rf"translate\b|{_GIVE}translation of\b",
    "compare": rf"compare\b|{_GIVE}comparison (?:of|between)\b|draw a comparison between\b",
    "explain": rf"explain(?: to me| to us)?\b|{_GIVE}explanation (?:of|for)\b|(?:help me )?understand\b|clarify\b"
    rf"|walk me through\b",
    "describe": rf"describe(?: to me| to us)?\b|{_GIVE}description (?:of|for)\b",
    "list": rf"list\b|enumerate\b|name(?= \d| some\b| a few\b| (?:{'|'.join(NUMBERS)})\b)"
    rf"|{_GIVE}list (?:of|with|containing)\b|what are(?= some\b)",
    "classify": rf"classify\b|categori[sz]e\b|{_GIVE}classification (?:of|for)\b",
    "rewrite": r"rewrite\b|rephrase\b|paraphrase\b|reword\b",
    "suggest": rf"suggest\b|recommend\b|propose\b|{_GIVE}(?:suggestions?|recommendations?) (?:for|of|on)\b",
    "calculate": r"calculate\b|compute\b|work out\b",
    "what": rf"what{_BE}\b(?! going)|what(?= the\b)|tell me(?: what (?:is|are))?\b(?= the\b)"
    r"|(?:give me|name|state)(?= the\b)",
    "write": r"(?:write|compose|draft|create|generate|produce|make|craft|pen|prepare|author|come up with|give|provide|"
    r"put together)\b(?: (?:me|us)\b)?(?: with\b)?|i(?: need| want| would like|'d like)(?= (?:an?|some)\b)"
    r"|(?=an? \w+ about\b)",
}  # fmt: skip
_OPENING = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _OPENINGS.items()))
_FRONTED = re.compile(
    r"((?:in|for|using|with|from|as|on|at|by|after|before|if|when|while|during|within|under|based on) [^,.?!:]{1,60}), "
)
_ORDER = re.compile(rf"(?:{_ORDERS})\b")
_ORDERED = re.compile(rf"(?:{_ORDERS}|how|what|why|who|when|where|which)\b")


_QUESTIONS = frozenset({"how", "why", "what", "define", ""})


def is_order(asks: str, body: str) -> bool:
    """Whether a prompt gives an order ("write", "list"), rather than asks a question."""
    return asks not in _QUESTIONS or (not asks and _ORDER.match(body) is not None)


def opening(low: str) -> tuple[str, str, str, bool]:
    """Take *low* (small letters) apart: what it asks for, how it says that, the rest, and whether it was courteous.

    What is asked is the name of a way to open a prompt, or nothing. A leading phrase ("In Python, write ...") is moved
    behind what it belongs to.
    """
    courtesy = _COURTESY.match(low)
    begin = courtesy.end() if courtesy else 0
    body = low[begin:].rstrip(" .!?,")
    courteous = begin > 0
    while body.endswith(_CLOSINGS) and (shorter := body[: -next(len(c) for c in _CLOSINGS if body.endswith(c))]):
        if shorter[-1] not in " ,.!?":
            break
        body, courteous = shorter.rstrip(" .!?,"), True
    fronted = _FRONTED.match(body)
    if fronted and _ORDERED.match(body, fronted.end()) and ". " not in body and "? " not in body:
        body = f"{body[fronted.end() :]} {fronted[1]}"
    found = _OPENING.match(body)
    if found is None:
        return "", "", body, courteous
    return found.lastgroup or "", found[0], body[found.end() :], courteous
