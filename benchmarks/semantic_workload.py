"""Prompts as synthetic data asks them: intents with slots, each worded several ways.

Two prompts of one intent whose slots differ must never share an answer; two wordings with equal slots should. Half of
the intents belong to the fit and its evidence, half are kept for the test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

__all__ = ["Pair", "intents", "prompts", "same_pairs", "slot_pairs", "typography_pairs"]

VALUES: dict[str, tuple[str, ...]] = {
    "country": ("France", "Germany", "Brazil", "Japan", "Kenya", "Canada", "New Zealand", "South Korea"),
    "count": ("3", "5", "7", "10", "12", "25", "100", "four", "nine"),
    "priority": ("low", "medium", "high", "urgent", "critical"),
    "person": ("Alice Moreno", "Bob Tanaka", "Carol Singh", "David Okafor", "Eve Larsson", "Will Young"),
    "date": ("5 January 2024", "6 January 2024", "March 3, 2023", "2025-07-14", "14 August 2025"),
    "weight": ("5 kg", "5 lb", "50 kg", "2.5 kg", "25 g"),
    "code": ("AX-100", "AX-101", "BX-100", "ZT9000", "ZT9001", "sku_77", "sku_78"),
    "colour": ("red", "blue", "dark green", "light green", "black", "white"),
    "weekday": ("Monday", "Tuesday", "Friday", "Saturday", "Sunday"),
    "direction": ("up", "down"),
    "change": ("increase", "decrease", "freeze"),
    "language": ("French", "German", "Spanish", "Portuguese", "Mandarin", "Hindi"),
    "program": ("Python", "Rust", "Go", "Java", "C++", "C#", "C"),
    "tone": ("formal", "informal", "angry", "calm", "apologetic", "friendly"),
    "product": ("router", "phone", "television", "laptop", "washing machine", "blender"),
    "money": ("$500", "$5,000", "€500", "500 rupees"),
    "quote": ('"I am late"', '"I was late"', '"You are late"', '"we won the cup"', '"we lost the cup"'),
    "level": ("beginners", "experts", "children", "teenagers", "managers"),
    "with": ("with", "without"),
    "more": ("more than", "less than", "at least", "at most", "exactly"),
    "city": ("Paris", "Rome", "Oslo", "Lagos", "San Jose", "San Diego", "Lima"),
    "city2": ("Berlin", "Madrid", "Cairo", "Delhi", "Boston"),
    "sort": ("newest", "oldest", "cheapest", "best rated"),
    "season": ("spring", "summer", "autumn", "winter"),
    "when": ("before", "after", "during"),
    "format": ("JSON", "CSV", "YAML", "XML", "Markdown"),
    "topic": ("rain", "the sea", "winter", "old trains", "solar power", "city gardens", "bees"),
    "event": ("photosynthesis", "inflation", "continental drift", "osmosis", "compound interest", "evolution"),
    "quantity": ("all", "some", "most", "none", "half"),
    "must": ("must", "may", "should not"),
    "voice": ("active", "passive"),
    "url": ("https://shop.example/a", "https://shop.example/b", "https://blog.example/a"),
    "percent": ("5%", "10%", "50%", "5.5%"),
    "year": ("1999", "2008", "2019", "2024"),
    "hour": ("9 am", "9 pm", "10:30 am", "11 pm"),
    "feeling": ("happy", "disappointed", "confused", "grateful"),
}  # fmt: skip

# One wording a line. The first 24 intents give an order, the others put a question.
_INTENTS = """
Write a short poem about {topic}.
Compose a brief poem about {topic}
Please write me a short poem on {topic}.
Could you draft a short poem about {topic}?
I'd like a short poem about {topic}, please.

Write {count} product reviews for a {colour} {product}.
Generate {count} product reviews for a {colour} {product}
Please create {count} product reviews for a {colour} {product}.
Give me {count} reviews of a {product} in {colour}.

Write a support ticket with {priority} priority about a broken {product}.
Create a {priority} priority support ticket about a broken {product}
Draft a support ticket about a broken {product} with {priority} priority.
Please generate a support ticket with {priority} priority about a broken {product}.

Summarize the history of {country} in {count} sentences.
Give me a summary of the history of {country} in {count} sentences.
Please summarise the history of {country} in {count} sentences
In {count} sentences, summarize the history of {country}.

Translate {quote} into {language}.
Please translate {quote} into {language}
Can you translate {quote} into {language}?
Give me a translation of {quote} into {language}.

Explain {event} to {level}.
Please explain {event} to {level}
Give an explanation of {event} to {level}.
Could you explain {event} to {level}?

List {count} cities in {country} {with} an airport.
Give me a list of {count} cities in {country} {with} an airport.
Please list {count} cities in {country} {with} an airport
Name {count} cities in {country} {with} an airport.

Write a {tone} email to {person} about the meeting on {weekday}.
Draft a {tone} email to {person} about the meeting on {weekday}
Compose a {tone} e-mail to {person} about the meeting on {weekday}.
Please write a {tone} email to {person} regarding the meeting on {weekday}.

In {program}, write a function that sorts a list of numbers.
Write a function in {program} that sorts a list of numbers.
Create a {program} function that sorts a list of numbers
Please write a function that sorts a list of numbers in {program}.

Describe a day when prices in {country} went {direction} by {percent}.
Give a description of a day when prices in {country} went {direction} by {percent}.
Please describe a day when prices in {country} went {direction} by {percent}

Create an order confirmation for item {code} shipped on {date}.
Generate an order confirmation for item {code} shipped on {date}
Write an order confirmation for item {code} shipped on {date}.
Please prepare an order confirmation for item {code} shipped on {date}.

Plan a {season} trip from {city} to {city2} for {count} people.
Please plan a {season} trip from {city} to {city2} for {count} people
Can you plan a {season} trip from {city} to {city2} for {count} people?

Write a question whose answer is {more} {count}.
Create a question whose answer is {more} {count}
Please compose a question whose answer is {more} {count}.

Generate a test record in {format} for a customer who is {feeling} with a {product}.
Create a test record in {format} for a customer who is {feeling} with a {product}
Please produce a test record in {format} for a customer who is {feeling} with a {product}.

Make up a news story about a company from {city} that will {change} wages by {percent}.
Please make up a news story about a company from {city} that will {change} wages by {percent}
Make up a news tale about a company from {city} that will {change} wages by {percent}.

Write a dialogue in which {person} sells a {product} for {money}.
Create a dialogue in which {person} sells a {product} for {money}
Please write a dialogue in which {person} sells a {product} for {money}.
Generate a dialogue in which {person} sells a {product} for {money}.

Suggest {count} names for a {colour} parcel of {weight}.
Recommend {count} names for a {colour} parcel of {weight}
Can you suggest {count} names for a {colour} parcel of {weight}?
Please propose {count} names for a {colour} parcel of {weight}.

Rewrite {quote} in the {voice} voice.
Please rewrite {quote} in the {voice} voice
Rephrase {quote} in the {voice} voice.

Write a rule that says {quantity} visitors {must} leave {when} {hour}.
Create a rule that says {quantity} visitors {must} leave {when} {hour}
Please draft a rule that says {quantity} visitors {must} leave {when} {hour}.

Summarize the page {url} in a {tone} tone.
Please summarize the page {url} in a {tone} tone
Give me a summary of the page {url} in a {tone} tone.

Compare the {sort} {product} in {country} with one in {city}.
Please compare the {sort} {product} in {country} with one in {city}
Could you compare the {sort} {product} in {country} with one in {city}?

Write a diary entry from {year} by a farmer in {country}.
Create a diary entry from {year} by a farmer in {country}
I want you to write a diary entry from {year} by a farmer in {country}.
Hi, please write a diary entry from {year} by a farmer in {country}. Thanks!

Calculate the price of {weight} of rice in {city} in {year}.
Compute the price of {weight} of rice in {city} in {year}
Please work out the price of {weight} of rice in {city} in {year}.

Classify the review {quote} as {feeling} or not.
Please categorize the review {quote} as {feeling} or not
Can you classify the review {quote} as {feeling} or not?

What is the capital of {country}?
What's the capital of {country}
Tell me the capital of {country}.
Could you tell me what the capital of {country} is?

How do I cook {weight} of rice?
How can I cook {weight} of rice
What is the best way to cook {weight} of rice?
How to cook {weight} of rice

How do I get from {city} to {city2} on {weekday}?
How can I get from {city} to {city2} on {weekday}
What's the best way to get from {city} to {city2} on {weekday}?

Why did prices in {country} go {direction} in {year}?
How come prices in {country} went {direction} in {year}?
What is the reason that prices in {country} went {direction} in {year}?

What does a {colour} light on my {product} mean?
What does the {colour} light on my {product} mean
what does a {colour} light on my {product} mean please

Is it safe to travel to {country} {with} a child in {season}?
Is it safe to travel to {country} {with} a kid in {season}
Is travelling to {country} {with} a child safe in {season}?

How many hours does it take to fly from {city} to {city2}?
How many hours is the flight from {city} to {city2}?
How many hours does it take to fly from {city} to {city2}

Can I return item {code} {when} {date}?
May I return item {code} {when} {date}?
Can I return the item {code} {when} {date}

What is {event}?
What's {event}
Define {event}.
What is meant by {event}?

Who won the cup in {country} in {year}?
Who won the cup in {year} in {country}?
Tell me who won the cup in {country} in {year}.
""".strip()


class Intent(msgspec.Struct, frozen=True):
    """One thing that is asked; *wordings* hold the same slots."""

    wordings: tuple[str, ...]
    slots: tuple[str, ...]
    is_order: bool


class Pair(msgspec.Struct, frozen=True):
    """Two prompts, and whether one answer serves both; *what* differs."""

    first: str
    second: str
    same: bool
    what: str


def intents(*, test: bool) -> list[Intent]:
    """Every second intent is of the test."""
    found = []
    for index, lines in enumerate(_INTENTS.split("\n\n")):
        wordings = tuple(lines.split("\n"))
        slots = tuple(name for name in VALUES if f"{{{name}}}" in wordings[0])
        if index % 2 == test:
            found.append(Intent(wordings, slots, index < 24))
    return found


def _filled(intent: Intent, rng: random.Random) -> dict[str, str]:
    return {slot: rng.choice(VALUES[slot]) for slot in intent.slots}


def slot_pairs(chosen: list[Intent], each: int, rng: random.Random) -> Iterator[Pair]:
    """*each* pairs an intent and slot, worded alike or not, with one slot different; and two slots exchanged."""
    for intent in chosen:
        for slot in intent.slots:
            for _ in range(each):
                values = _filled(intent, rng)
                other = {**values, slot: rng.choice([v for v in VALUES[slot] if v != values[slot]])}
                first, second = rng.choice(intent.wordings), rng.choice(intent.wordings)
                yield Pair(first.format(**values), second.format(**other), same=False, what=slot)
        if {"city", "city2"} <= set(intent.slots):
            for _ in range(each):
                values = _filled(intent, rng)
                other = {**values, "city": values["city2"], "city2": values["city"]}
                wording = rng.choice(intent.wordings)
                yield Pair(wording.format(**values), wording.format(**other), same=False, what="exchanged")


def same_pairs(chosen: list[Intent], each: int, rng: random.Random) -> Iterator[Pair]:
    """*each* pairs an intent of two wordings with equal slots."""
    for intent in chosen:
        for _ in range(each):
            values = _filled(intent, rng)
            first, second = rng.sample(intent.wordings, 2)
            yield Pair(first.format(**values), second.format(**values), same=True, what="wording")


def typography_pairs(chosen: list[Intent], each: int, rng: random.Random) -> Iterator[Pair]:
    """*each* pairs an intent that differ in small letters, end marks, blanks, courtesy or one article only."""
    for intent in chosen:
        for _ in range(each):
            text = rng.choice(intent.wordings).format(**_filled(intent, rng))
            change = rng.choice(("lower", "mark", "blanks", "please", "article"))
            other = {
                "lower": text[0].lower() + text[1:],
                "mark": text[:-1] if text[-1] in ".?!" else text + ".",
                "blanks": text.replace(" ", "  ", 2) + " ",
                "article": text.replace(" a ", " the ", 1) if " a " in text else text.replace(" the ", " ", 1),
                "please": f"Please, {text[0].lower()}{text[1:]}",
            }[change]
            yield Pair(text, other, same=True, what=change)


def prompts(chosen: list[Intent], count: int, rng: random.Random) -> Iterator[tuple[int, str]]:
    """A stream of *count* requests: meanings by Zipf's law, in any wording; the number names the meaning."""
    meanings = [(intent, _filled(intent, rng)) for intent in chosen for _ in range(10)]
    rng.shuffle(meanings)
    weights = [1.0 / (rank + 1) for rank in range(len(meanings))]
    keys: dict[str, int] = {}
    for intent, values in rng.choices(meanings, weights, k=count):
        key = intent.wordings[0].format(**values)
        yield keys.setdefault(key, len(keys)), rng.choice(intent.wordings).format(**values)
