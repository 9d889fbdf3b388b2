"""What a field's name says about its values: ``customer_email`` is a mail address, ``unit_price`` a sum of money."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agentic_synth.offline import formats, lexicon, prose, talk
from agentic_synth.offline.formats import Sampler
from agentic_synth.offline.naming import singular, words_of
from agentic_synth.offline.scene import Scene, pick

__all__ = ["PERSONAL", "Meaning", "is_crowd", "meaning_of"]


class Meaning(NamedTuple):
    """How to make a field's text; *role* is what stands before the part of the name that was understood."""

    sampler: Sampler
    role: str


def _full_name(scene: Scene, role: str) -> str:
    person = scene.person(role)
    return f"{person.first} {person.last}"


def _username(scene: Scene, role: str) -> str:
    person = scene.person(role)
    return f"{person.first.lower()}{pick(scene, '._-')}{person.last.lower()}{person.number % 100}"


def _phone(scene: Scene, _role: str) -> str:
    return f"+1-{201 + scene.below(700)}-555-01{scene.below(100):02}"


def _street(scene: Scene, _role: str) -> str:
    return f"{1 + scene.below(300)} {pick(scene, lexicon.STREETS)} {pick(scene, lexicon.STREET_KINDS)}"


def _address(scene: Scene, role: str) -> str:
    place = scene.place(role)
    return f"{_street(scene, role)}, {place.city}, {place.country}"


def _location(scene: Scene, role: str) -> str:
    place = scene.place(role)
    return f"{place.city}, {place.country}"


def _product(scene: Scene, _role: str) -> str:
    """A product's name, of the kind that the topic names."""
    topic = pick(scene, scene.topics).rpartition(" ")[2].lower()
    product = pick(scene, lexicon.GOODS.get(topic) or lexicon.GOODS.get(singular(topic)) or lexicon.PRODUCTS)
    scene.speak_of(product)
    return f"{pick(scene, lexicon.COMPANY_HEADS)} {pick(scene, lexicon.GOOD).title()} {product.title()}"


def _identifier(scene: Scene, role: str) -> str:
    if not role:
        return formats.uuid(scene, role)
    return f"{role.rsplit('_', 1)[-1][:3].upper()}-{scene.below(1_000_000):06}"


def _reference(scene: Scene, role: str) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    head = role[:3].upper() if role else pick(scene, letters) + pick(scene, letters) + pick(scene, letters)
    return f"{head}-{scene.below(10_000):04}-{pick(scene, letters)}{scene.below(10)}"


def _digest(scene: Scene, _role: str) -> str:
    return f"{scene.below(1 << 160):040x}"


def _postcode(scene: Scene, _role: str) -> str:
    return f"{10_000 + scene.below(89_999)}"


def _file(scene: Scene, role: str) -> str:
    return f"{formats.slug(scene, role)}.{pick(scene, lexicon.EXTENSIONS)}"


def _path(scene: Scene, role: str) -> str:
    return f"/{pick(scene, lexicon.NOUNS)}/{pick(scene, lexicon.NOUNS)}/{_file(scene, role)}"


def _mac(scene: Scene, _role: str) -> str:
    return ":".join([f"{byte:02x}" for byte in (2, *[scene.below(256) for _ in range(5)])])


def _version(scene: Scene, _role: str) -> str:
    return f"{scene.below(10)}.{scene.below(20)}.{scene.below(30)}"


def _month(scene: Scene, _role: str) -> str:
    return pick(scene, lexicon.MONTHS)


def _year(scene: Scene, role: str) -> str:
    return formats.date(scene, role)[:4]


def _clock(scene: Scene, role: str) -> str:
    return formats.time(scene, role)[:5]


def _money(scene: Scene, _role: str) -> str:
    return f"${5 + scene.below(500)}.{scene.below(100):02}"


def _hashtag(scene: Scene, _role: str) -> str:
    return "#" + prose.keyword(scene).title().replace(" ", "")


def _among(values: Sequence[str]) -> Sampler:
    return lambda scene, _role: values[int(scene.random() * len(values))]


def _by_tone(*values: Sequence[str]) -> Sampler:
    return lambda scene, _role: pick(scene, values[scene.tone])


def _saying(section: str) -> Sampler:
    return lambda scene, _role: prose.say(scene, section)


def _question(scene: Scene, _role: str) -> str:
    return prose.say(scene, "puzzle" if scene.genre == "puzzle" else "question")


def _text(low: int, high: int, genre: str | None = None) -> Sampler:
    return lambda scene, _role: prose.sentences(scene, low + int(scene.random() * (high - low + 1)), genre)


def _steps(scene: Scene, _role: str) -> str:
    return "\n".join([f"{number}. {prose.say(scene, 'tip')}" for number in range(1, 4 + scene.below(3))])


_ADDRESS_WORDS = "address street_address home_address billing_address shipping_address delivery_address postal_address"
_GROUPS: tuple[tuple[str, Sampler], ...] = (
    (
        """name full_name person author customer user owner manager agent assignee contact recipient sender passenger
        patient student teacher employee client buyer seller reviewer reporter speaker contact_name display_name
        customer_name user_name_full director doctor driver guest host member reviewer_name candidate applicant""",
        _full_name,
    ),
    ("first_name given_name forename firstname fname", lambda scene, role: scene.person(role).first),
    ("last_name surname family_name lastname lname", lambda scene, role: scene.person(role).last),
    ("username user_name login handle nickname screen_name account_name user_handle", _username),
    ("email email_address mail_address e_mail mail", formats.email),
    ("phone phone_number telephone mobile mobile_number cell fax contact_number phone_no", _phone),
    ("gender sex", _among(("female", "male", "non-binary"))),
    ("job job_title occupation profession job_role designation", _among(lexicon.JOBS)),
    ("department team division", _among(lexicon.DEPARTMENTS)),
    (
        """company company_name organization organisation employer brand vendor supplier manufacturer publisher
        business organization_name merchant store shop institution""",
        lambda scene, role: scene.person(role).company,
    ),
    (_ADDRESS_WORDS, _address),
    ("street street_name address_line address_line_1 address1 line1 address_1", _street),
    ("city town municipality city_name hometown destination origin", lambda scene, role: scene.place(role).city),
    ("state region province county state_name", lambda scene, role: scene.place(role).region),
    ("country nation nationality country_name", lambda scene, role: scene.place(role).country),
    ("country_code", lambda scene, role: scene.place(role).code),
    ("zip zip_code zipcode postal_code postcode postal", _postcode),
    ("timezone time_zone tz", _among(lexicon.TIMEZONES)),
    ("location place venue", _location),
    ("url link website homepage uri web_site href", formats.uri),
    ("image image_url photo avatar picture thumbnail", lambda scene, role: f"{formats.uri(scene, role)}.png"),
    ("domain hostname server", formats.hostname),
    ("ip ip_address ipv4 client_ip source_ip", formats.ipv4),
    ("ipv6", formats.ipv6),
    ("mac mac_address", _mac),
    ("user_agent browser", _among(lexicon.USER_AGENTS)),
    ("slug permalink", formats.slug),
    ("file filename file_name attachment", _file),
    ("path file_path directory", _path),
    ("mime mime_type content_type media_type", _among(lexicon.MIME_TYPES)),
    ("product product_name item item_name model_name", _product),
    ("currency currency_code", _among(lexicon.CURRENCIES)),
    ("category categories genre product_category industry sector", _among(lexicon.CATEGORIES)),
    ("color colour", _among(lexicon.COLORS)),
    ("material", _among(lexicon.MATERIALS)),
    ("size", _among(("XS", "S", "M", "L", "XL"))),
    ("price cost amount total fee salary", _money),
    ("id identifier", _identifier),
    ("uuid guid", formats.uuid),
    ("sku reference reference_number ref code serial serial_number tracking_number coupon_code barcode", _reference),
    ("hash sha sha1 checksum digest token api_key secret session_id commit", _digest),
    ("date day_of on dob date_of_birth birth_date birthdate birthday", formats.date),
    ("datetime timestamp at created updated modified", formats.instant),
    ("time start_time end_time hour", _clock),
    ("year", _year),
    ("month", _month),
    ("day weekday day_of_week", _among(lexicon.WEEKDAYS)),
    ("duration", formats.duration),
    ("title headline subject subject_line topic_title heading name_of_article", lambda scene, _: prose.title(scene)),
    ("summary abstract overview synopsis", _text(1, 2)),
    ("description desc details about bio biography background context scenario profile", _text(1, 3)),
    ("body content text message post article paragraph passage document ticket", _text(2, 4)),
    ("transcript dialogue dialog conversation chat chat_log", talk.transcript),
    ("comment note notes remark feedback caption quote sentence utterance observation", _text(1, 2)),
    ("review", _text(2, 3, "review")),
    ("complaint problem issue symptom", _text(1, 2, "issue")),
    ("question query ask", _question),
    ("answer reply response output completion solution", _text(1, 3, "explain")),
    ("explanation reasoning rationale reason thought analysis justification", _text(1, 2, "explain")),
    ("instruction prompt task request command", _saying("task")),
    ("input", _text(2, 3)),
    ("tip advice recommendation suggestion hint", _saying("tip")),
    ("story plot", _text(3, 6, "story")),
    ("steps procedure", _steps),
    ("tagline slogan motto", lambda scene, _: prose.phrase(scene).capitalize()),
    ("keyword tag topic theme term concept interest skill", lambda scene, _: prose.keyword(scene)),
    ("hashtag", _hashtag),
    ("snippet source_code code_snippet python_code program function", lambda scene, _: prose.snippet(scene)),
    ("language lang", _among(lexicon.LANGUAGES)),
    ("locale", _among(lexicon.LOCALES)),
    ("status state_of stage", _among(lexicon.STATUSES)),
    ("priority urgency", _among(("low", "medium", "high", "urgent"))),
    ("severity impact", _among(("minor", "major", "critical"))),
    ("level difficulty complexity", _among(("easy", "medium", "hard"))),
    ("sentiment polarity", _by_tone(("negative",), ("neutral",), ("positive",))),
    ("mood emotion tone feeling", _by_tone(("annoyed", "worried"), ("calm", "curious"), ("happy", "hopeful"))),
    ("version", _version),
)
_MEANINGS: dict[str, Sampler] = {name: sampler for names, sampler in _GROUPS for name in names.split()}
_NAMING = frozenset(
    _MEANINGS[name] for name in ("name", "first_name", "last_name", "email", "city", "state", "country", "location")
)
PERSONAL = _NAMING | {
    _MEANINGS[name] for name in ("username", "company", "address", "country_code", "url", "image", "domain")
}
"""Samplers whose role is a person or a place of the record."""
_ANYBODY = frozenset({"work", "home", "personal", "contact", "primary", "secondary", "main", "official", "business"})
_DATED = (formats.date, formats.instant)
_CARRIERS = frozenset({"name", "value", "text", "string", "field", "label", "str", "line"})


def meaning_of(name: str, parent: str = "") -> Meaning | None:
    """How to make the text of a field called *name* in an object called *parent*; None if the name says nothing."""
    words = words_of(name)
    if parent and words in (("name",), ("title",), ("id",), ("code",)):
        words = (*[singular(token) for token in words_of(parent)], *words)
        if words[-1] == "name" and "_".join(words[-2:]) not in _MEANINGS and words[-2] not in _MEANINGS:
            return Meaning(_full_name, "")
    return _longest_suffix(words)


def _longest_suffix(words: tuple[str, ...]) -> Meaning | None:
    for length in range(min(3, len(words)), 0, -1):
        suffix, role = words[-length:], "_".join(words[:-length])
        sampler = _MEANINGS.get("_".join(suffix)) or _MEANINGS.get("_".join((*suffix[:-1], singular(suffix[-1]))))
        if sampler is _full_name and suffix == ("name",) and role:
            return _longest_suffix(words[:-1]) or Meaning(_titled, role)
        if sampler:
            return Meaning(sampler, _role(sampler, words, role))
    if len(words) > 1 and words[-1] in _CARRIERS:
        return _longest_suffix(words[:-1])
    return None


def _role(sampler: Sampler, words: tuple[str, ...], before: str) -> str:
    """What tells this field from others of its meaning: all of a date's or a person's name, else what stands before."""
    if sampler in _DATED or (sampler is _full_name and words[-1] != "name"):
        return "_".join(words)
    return "" if sampler in PERSONAL and before in _ANYBODY else before


def _titled(scene: Scene, _role: str) -> str:
    return prose.phrase(scene).title()


def is_crowd(names: Iterable[str]) -> bool:
    """Whether fields called *names* speak of more than one person or place, such as a buyer and a seller."""
    seen: dict[Sampler, set[str]] = {}
    for name in names:
        meaning = meaning_of(name)
        if meaning and meaning.sampler in _NAMING:
            seen.setdefault(meaning.sampler, set()).add(meaning.role)
    return any(len(roles) > 1 for roles in seen.values())
