"""What a field's name and description say is found in its values, and the fields of one record agree."""

import re

import pytest

from tests.offline.offline_schemas import ask, asked, record

TEXT = {"type": "string"}
NUMBER = {"type": "number"}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("name", r"^[A-Z]\w+ [A-Z]\w+$"),
        ("customerName", r"^[A-Z]\w+ [A-Z]\w+$"),
        ("email", r"^\S+@\S+\.\w+$"),
        ("work_email", r"^\S+@\S+\.\w+$"),
        ("phone", r"^\+1-\d{3}-555-01\d\d$"),
        ("address", r"^\d+ \w+ \w+, .+, .+$"),
        ("postal_code", r"^\d{5}$"),
        ("url", r"^https://"),
        ("created_at", r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"),
        ("birthDate", r"^(19|20)\d\d-\d\d-\d\d$"),
        ("order_id", r"^ORD-\d{6}$"),
        ("uuid", r"^[0-9a-f-]{36}$"),
        ("ip_address", r"^10\.\d+\.\d+\.\d+$"),
        ("price", r"^\$\d+\.\d\d$"),
        ("question", r"\?$"),
        ("version", r"^\d+\.\d+\.\d+$"),
        ("fileName", r"\.\w+$"),
    ],
)
def test_texts_follow_the_name(name: str, pattern: str) -> None:
    assert all(re.search(pattern, value[name]) for value in asked(record(**{name: TEXT})))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("age", 18, 90),
        ("rating", 1, 5),
        ("latitude", -90, 90),
        ("unit_price", 5, 500),
        ("probability", 0, 1),
        ("birth_year", 1990, 2025),
    ],
)
def test_numbers_follow_the_name(name: str, low: float, high: float) -> None:
    values = [value[name] for value in asked(record(**{name: NUMBER}), 60)]
    assert all(low <= value <= high for value in values)
    assert len(set(values)) > 3


def test_a_schema_s_own_bounds_come_before_the_name_s() -> None:
    ages = [value["age"] for value in asked(record(age={"type": "integer", "minimum": 200, "maximum": 300}))]
    assert all(200 <= age <= 300 for age in ages)


def test_the_fields_of_one_record_agree() -> None:
    schema = record(first_name=TEXT, last_name=TEXT, name=TEXT, email=TEXT, city=TEXT, country=TEXT, address=TEXT)
    for value in asked(schema):
        assert value["name"] == f"{value['first_name']} {value['last_name']}"
        assert value["first_name"].lower()[0] == value["email"][0]
        assert value["address"].endswith(f"{value['city']}, {value['country']}")


def test_a_buyer_and_a_seller_are_two_people_and_items_are_different_things() -> None:
    items = {"type": "array", "items": record(name=TEXT, price=NUMBER), "minItems": 2}
    schema = record(buyer_name=TEXT, seller_name=TEXT, seller_email=TEXT, items=items)
    values = asked(schema)
    assert sum(value["buyer_name"] == value["seller_name"] for value in values) < 2
    assert all(value["seller_name"].lower()[0] == value["seller_email"][0] for value in values)
    assert sum(value["items"][0]["name"] == value["items"][1]["name"] for value in values) < 2


def test_an_end_comes_after_its_start() -> None:
    date = {"type": "string", "format": "date"}
    assert all(value["start_date"] < value["end_date"] for value in asked(record(start_date=date, end_date=date)))


def test_a_nested_name_is_of_what_the_object_is() -> None:
    value = ask(record(product=record(name=TEXT), customer=record(name=TEXT)))
    assert len(value["product"]["name"].split()) == 3
    assert len(value["customer"]["name"].split()) == 2


def test_a_description_s_choices_instances_lengths_and_ranges_are_taken() -> None:
    schema = record(
        feeling={"type": "string", "description": "one of: glad, sad or angry"},
        notes={"type": "string", "description": "what went wrong, e.g. late, broken, lost"},
        saying={"type": "string", "description": "Exactly two sentences."},
        score={"type": "number", "description": "a value between 3 and 4"},
        contact={"type": "string", "description": "the customer's email"},
    )
    values = asked(schema, 60)
    assert {value["feeling"] for value in values} == {"glad", "sad", "angry"}
    assert {value["notes"] for value in values} == {"late", "broken", "lost"}
    assert all(3 <= value["score"] <= 4 for value in values)
    assert all(len(value["saying"].rstrip(".?!").split(". ")) <= 2 for value in values)


def test_examples_set_the_shape() -> None:
    values = asked({"type": "string", "examples": ["part-1234", "part-99"]}, 60)
    assert all(re.fullmatch(r"part-(\d{4}|\d\d)", value) for value in values)
    assert len(set(values)) > 30


def test_the_prompt_s_words_colour_the_texts() -> None:
    schema = record(subject={"type": "string", "maxLength": 80}, body=TEXT)
    values = [ask(schema, sample, "Write an angry support ticket about a broken toaster.") for sample in range(30)]
    assert sum("toaster" in value["body"].lower() for value in values) > 20
    assert sum("toaster" in value["subject"].lower() for value in values) > 20


STARS = {"type": "integer", "minimum": 1, "maximum": 5}
TONES = {"enum": ["negative", "mixed", "positive"]}


def test_stars_and_sentiments_agree() -> None:
    schema = record(rating=STARS, sentiment=TONES, label={"enum": ["good", "bad", "other"]}, polarity=TEXT)
    wanted = ("negative", "negative", "mixed", "positive", "positive")
    values = asked(schema, 200)
    assert {value["rating"] for value in values} == {1, 2, 3, 4, 5}
    for value in values:
        assert value["sentiment"] == wanted[value["rating"] - 1]
        assert (value["label"], value["polarity"]) in {("bad", "negative"), ("other", "neutral"), ("good", "positive")}


def test_each_review_of_a_list_has_its_own_feeling() -> None:
    schema = {"type": "array", "items": record(stars={"enum": [1, 2, 3, 4, 5]}, sentiment=TONES), "minItems": 60}
    pairs = {(value["stars"], value["sentiment"]) for value in ask(schema)}
    assert pairs == {(1, "negative"), (2, "negative"), (3, "mixed"), (4, "positive"), (5, "positive")}


def test_stars_in_the_prompt_are_those_of_the_record() -> None:
    schema = record(rating=STARS, sentiment=TONES)
    values = [ask(schema, sample, "Write a review by somebody who gives 2 of 5 stars.") for sample in range(30)]
    assert all(value == {"rating": 2, "sentiment": "negative"} for value in values)


def test_ratings_and_sentiments_by_themselves_take_all_values() -> None:
    ratings = [value["rating"] for value in asked(record(rating=STARS), 500)]
    assert all(60 < ratings.count(rating) < 140 for rating in range(1, 6))
    assert {value["sentiment"] for value in asked(record(sentiment=TONES), 60)} == set(TONES["enum"])


def test_a_product_is_of_the_prompt_s_category_and_its_review_speaks_of_it() -> None:
    schema = record(product=TEXT, review=TEXT)
    for sample in range(30):
        value = ask(schema, sample, 'Write a review of a product of the category "kitchen".')
        thing = value["product"].split()[-1].lower()
        assert thing in {"kettle", "toaster", "mug", "blender", "pan", "stove"}
        assert "kitchen" not in value["review"]
