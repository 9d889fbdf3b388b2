"""Made-up values of the world from Mimesis, driven by the row's own randomness.

The values are the same for the same version of Mimesis; a new version may bring other word lists.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import inspect
import operator
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import NoneType
from typing import Any, Final

import mimesis
import mimesis.enums
from mimesis import Locale
from mimesis.providers.base import BaseDataProvider

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.model_samplers import FakeColumn, PersonColumn
from agentic_synth.recipes.near import nearest
from agentic_synth.recipes.person import PERSON_SCHEMA, Persona
from agentic_synth.recipes.samplers_kinds import Draw, Sampler, schema_of_values

__all__ = ["PROVIDERS", "SHORT_NAMES", "compile_made_up", "fields_of", "locale_of"]

SHORT_NAMES: Final[Mapping[str, str]] = {
    "name": "person.full_name",
    "first_name": "person.first_name",
    "last_name": "person.last_name",
    "email": "person.email",
    "phone": "person.phone_number",
    "username": "person.username",
    "job": "person.occupation",
    "nationality": "person.nationality",
    "address": "address.address",
    "street": "address.street_name",
    "city": "address.city",
    "state": "address.state",
    "country": "address.country",
    "postal_code": "address.postal_code",
    "company": "finance.company",
    "bank": "finance.bank",
    "price": "finance.price",
    "lorem": "text.text",
    "text": "text.text",
    "sentence": "text.sentence",
    "word": "text.word",
    "color": "text.color",
    "quote": "text.quote",
    "url": "internet.url",
    "hostname": "internet.hostname",
    "ipv4": "internet.ip_v4",
    "ipv6": "internet.ip_v6",
    "user_agent": "internet.user_agent",
    "credit_card": "payment.credit_card_number",
    "isbn": "code.isbn",
    "car": "transport.car",
    "dish": "food.dish",
}

_SHORT_PERSON: Final[Mapping[str, str]] = {"name": "full_name", "job": "occupation"}

PROVIDERS: Final[Mapping[str, str]] = {
    "address": "Address",
    "code": "Code",
    "cryptographic": "Cryptographic",
    "datetime": "Datetime",
    "development": "Development",
    "file": "File",
    "finance": "Finance",
    "food": "Food",
    "hardware": "Hardware",
    "internet": "Internet",
    "numeric": "Numeric",
    "path": "Path",
    "payment": "Payment",
    "person": "Person",
    "science": "Science",
    "text": "Text",
    "transport": "Transport",
}
"""What may stand before the point in ``fake: provider.field``, and its class."""
_NO_DATES: Final = (
    *("bulk_create_datetimes", "date", "datetime", "formatted_date", "formatted_datetime", "future_date"),
    *("future_datetime", "past_date", "past_datetime", "timestamp", "week_date", "year"),
)
_REFUSED: Final[Mapping[str, str]] = {
    **{f"datetime.{field}": "Use a `date` or `datetime` column with two ends." for field in _NO_DATES},
    "development.calver": "Use `development.version`.",
    "cryptographic.jwt": "Use `cryptographic.token_urlsafe`.",
    "numeric.increment": "Use a `sequence` column.",
    "numeric.complex_number": "JSON has no complex numbers.",
    "numeric.complexes": "JSON has no complex numbers.",
}
"""Fields whose value depends on today's date or on the calls before, or is no JSON; and what to use instead."""

_PROBES: Final = 16


@functools.lru_cache(maxsize=64)
def _provider(name: str, locale: str) -> Any:
    kind = getattr(mimesis, PROVIDERS[name])
    return kind(locale_of(locale)) if issubclass(kind, BaseDataProvider) else kind()


def locale_of(locale: str) -> Locale:
    """Mimesis' locale for a code such as ``de`` or ``pt-br``.

    Raises:
        RecipeError: there is no such locale.
    """
    code = locale.lower().replace("_", "-")
    known = [one.value for one in Locale]
    if code in known:
        return Locale(code)
    if code.split("-")[0] in known:  # de-de is de
        return Locale(code.split("-")[0])
    raise RecipeError(f"there is no locale {locale!r}", mend=f"Known are {', '.join(known)}.")


def fields_of(provider: str) -> list[str]:
    """The fields of *provider* that a recipe may ask for."""
    kind = getattr(mimesis, PROVIDERS[provider])
    own = [name for name in dir(kind) if not name.startswith("_") and not hasattr(BaseDataProvider, name)]
    return [name for name in own if callable(getattr(kind, name)) and f"{provider}.{name}" not in _REFUSED]


def compile_made_up(column: FakeColumn | PersonColumn) -> Sampler:
    """A field of Mimesis, or a person, as a sampler.

    Raises:
        RecipeError: there is no such field or locale, or its arguments do not fit.
    """
    return _fake(column) if isinstance(column, FakeColumn) else _person(column)


def _fake(column: FakeColumn) -> Sampler:
    path = SHORT_NAMES.get(column.fake, column.fake)
    name, _, field = path.partition(".")
    if path in _REFUSED:
        raise RecipeError(f"`fake: {path}` cannot be the same again from a seed", mend=_REFUSED[path])
    if name not in PROVIDERS or field not in fields_of(name):
        fields = [f"{name}.{one}" for one in fields_of(name)] if name in PROVIDERS else []
        near = nearest(column.fake, [*SHORT_NAMES, *fields])
        raise RecipeError(f"there is nothing to fake called `{column.fake}`{near}", mend=_known_mend(name))
    provider = _provider(name, column.locale)
    return _sampler(path, provider, getattr(provider, field), column.arguments)


def _known_mend(name: str) -> str:
    if name in PROVIDERS:
        return f"`{name}` has {', '.join(fields_of(name))}."
    return f"Write one of {', '.join(SHORT_NAMES)}; or provider.field with a provider of {', '.join(PROVIDERS)}."


def _sampler(path: str, provider: Any, method: Callable[..., Any], given: Mapping[str, Any]) -> Sampler:
    arguments = _arguments(path, method, given)
    call = functools.partial(method, **arguments) if arguments else method
    generator: random.Random = provider.random

    def raw(rng: random.Random, index: int) -> Any:
        generator.seed(rng.getrandbits(64))
        return call()

    rng = random.Random()
    try:
        probes, again = ([_probe(rng, raw, seed) for seed in range(_PROBES)] for _ in range(2))
        values = [_plain(value) for value in probes]
    except (TypeError, ValueError, KeyError, AttributeError, LookupError) as error:
        mend = "" if not given else "Look at `arguments`."
        raise RecipeError(f"`fake: {path}` gives nothing: {error}", mend=mend) from error
    if probes != again:
        message = f"`fake: {path}` gives another value each time, whatever the seed"
        raise RecipeError(message, mend="Leave `unique` out.")
    exact = all(value is probe for value, probe in zip(values, probes, strict=True))
    return Sampler(raw if exact else (lambda rng, index: _plain(raw(rng, index))), schema_of_values(values))


def _probe(rng: random.Random, raw: Draw, seed: int) -> Any:
    rng.seed(seed)
    return raw(rng, 0)


def _plain(value: Any) -> Any:
    """The same value as JSON has it."""
    if isinstance(value, (str, int, float, bool, NoneType)):
        return value
    if isinstance(value, list | tuple):
        plain = [_plain(inner) for inner in value]
        return value if isinstance(value, list) and all(map(operator.is_, plain, value)) else plain
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    for kind, write in _WRITTEN.items():
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"a {type(value).__name__} is no JSON value")


_WRITTEN: Final[Mapping[type, Callable[[Any], Any]]] = {
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: dt.timedelta.total_seconds,
    Decimal: float,
    bytes: bytes.hex,
}


def _arguments(path: str, method: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(method).parameters
    for name in given:
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise RecipeError(f"`{path}` takes no `{name}`{nearest(name, parameters)}", mend=f"It takes {known}.")
    return {name: _argument(path, name, parameters[name], value) for name, value in given.items()}


def _argument(path: str, name: str, parameter: inspect.Parameter, value: Any) -> Any:
    """*value*, or the member of the enumeration that the parameter asks for."""
    for word in str(parameter.annotation).replace("|", " ").replace("[", " ").replace("]", " ").split():
        kind = getattr(mimesis.enums, word.rsplit(".", 1)[-1].strip("'>"), None)
        if isinstance(kind, type) and issubclass(kind, enum.Enum) and isinstance(value, str):
            members = {member.name.lower(): member for member in kind}
            found = members.get(value.lower().replace(" ", "_").replace("-", "_"))
            if found is None:
                raise RecipeError(
                    f"`{name}` of `{path}` is never {value!r}", mend=f"Write one of {', '.join(members)}."
                )
            return found
    return value


def _person(column: PersonColumn) -> Sampler:
    persona = Persona(locale_of(column.locale))
    if column.person is True:
        return Sampler(lambda rng, index: persona.draw(rng), PERSON_SCHEMA)
    field = _SHORT_PERSON.get(column.person, column.person)
    known = PERSON_SCHEMA["properties"]
    if field not in known:
        mend = f"A person has {', '.join(known)}; `person: true` gives them all."
        raise RecipeError(f"a person has no `{column.person}`{nearest(column.person, known)}", mend=mend)
    return Sampler(lambda rng, index: persona.draw(rng)[field], known[field])
