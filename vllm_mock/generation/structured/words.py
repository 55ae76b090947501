"""What strings are made of: names, places and words, and which of them suits a property of some name."""

import re
from collections.abc import Callable

from vllm_mock.generation.draws import Draws

GIVEN_NAMES = ("Alice", "Ben", "Carla", "David", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kira", "Liam")
SURNAMES = (
    "Archer",
    "Baker",
    "Costa",
    "Dorsey",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Hughes",
    "Ivanova",
    "Kimura",
    "Lopez",
)
CITIES = ("Lisbon", "Oslo", "Nairobi", "Toronto", "Kyoto", "Lima", "Dublin", "Prague", "Austin", "Melbourne", "Seoul")
COUNTRIES = ("Portugal", "Norway", "Kenya", "Canada", "Japan", "Peru", "Ireland", "Brazil", "Australia", "Spain")
COUNTRY_CODES = ("PT", "NO", "KE", "CA", "JP", "PE", "IE", "BR", "AU", "ES")
STREETS = ("Harbour Road", "Mill Lane", "Station Street", "Garden Avenue", "Hill View", "Market Square")
COMPANIES = ("Northwind", "Bluefield", "Silver Oak", "Riverside", "Brightline", "Lanternworks")
COLOURS = ("red", "green", "blue", "amber", "violet", "white", "black", "silver")
CURRENCIES = ("EUR", "USD", "GBP", "JPY", "CAD", "CHF")
LANGUAGES = ("en", "pt", "de", "ja", "fr", "es")
STATES = ("active", "pending", "done", "open", "closed", "ready")
WORDS = (
    *("river", "garden", "letter", "window", "market", "silver", "morning", "paper", "bridge", "winter", "music"),
    *("forest", "table", "stone", "harbour", "summer", "number", "travel", "signal", "island", "yellow", "kitchen"),
    *("lantern", "castle", "sun", "sea", "oak", "map", "tea", "road", "boat", "lamp"),
)
SENTENCES = (
    "The river was calm in the morning.",
    "A letter came with the early train.",
    "The market opens before the rain.",
    "Every window looks out on the garden.",
    "The bridge was built of grey stone.",
    "She kept the lantern near the door.",
    "They walked along the harbour until noon.",
    "The forest is quiet in winter.",
    "Music was heard from the next street.",
    "The island can be reached by boat.",
)


def word(draws: Draws) -> str:
    """One lower-case word."""
    return draws.pick(WORDS)


def words(draws: Draws) -> str:
    """One to three words."""
    return " ".join(draws.pick(WORDS) for _ in range(1 + draws.below(3)))


def full_name(draws: Draws) -> str:
    """A person's name."""
    return f"{draws.pick(GIVEN_NAMES)} {draws.pick(SURNAMES)}"


def sentences(draws: Draws) -> str:
    """One or two sentences."""
    return " ".join(draws.pick(SENTENCES) for _ in range(1 + draws.below(2)))


def title(draws: Draws) -> str:
    """Two or three words, as a heading."""
    return " ".join(draws.pick(WORDS) for _ in range(2 + draws.below(2))).capitalize()


def identifier(draws: Draws) -> str:
    """Such as "stone-4821"."""
    return f"{draws.pick(WORDS)}-{draws.between(100, 9999)}"


def phone(draws: Draws) -> str:
    """A telephone number."""
    return f"+1-555-{draws.between(100, 999)}-{draws.between(1000, 9999)}"


def email(draws: Draws) -> str:
    """An address at example.com."""
    return f"{draws.pick(GIVEN_NAMES).lower()}.{draws.pick(SURNAMES).lower()}@example.com"


def url(draws: Draws) -> str:
    """An address of a page of example.com."""
    return f"https://www.example.com/{draws.pick(WORDS)}/{draws.pick(WORDS)}"


def date(draws: Draws) -> str:
    """A day of 2026, YYYY-MM-DD."""
    return f"2026-{draws.between(1, 12):02}-{draws.between(1, 28):02}"


def clock(draws: Draws) -> str:
    """A time of day, HH:MM:SS."""
    return f"{draws.between(0, 23):02}:{draws.between(0, 59):02}:{draws.between(0, 59):02}"


def _from(items: tuple[str, ...]) -> Callable[[Draws], str]:
    return lambda draws: draws.pick(items)


# A part of a property's name: what its value looks like. The first that fits counts.
_HINTS: tuple[tuple[re.Pattern[str], Callable[[Draws], str]], ...] = tuple(
    (re.compile(rf"(^|_)({names})(_|$)"), make)
    for names, make in (
        ("e?mail|email_address", email),
        ("url|uri|link|website|homepage|href", url),
        ("phone|mobile|tel|telephone|fax", phone),
        ("(first|given)_?name|firstname", _from(GIVEN_NAMES)),
        ("(last|family)_?name|surname|lastname", _from(SURNAMES)),
        ("country_code", _from(COUNTRY_CODES)),
        ("city|town|location|place|destination|origin", _from(CITIES)),
        ("country|nationality", _from(COUNTRIES)),
        ("street|address", lambda draws: f"{draws.between(1, 99)} {draws.pick(STREETS)}"),
        ("company|organi[sz]ation|employer|brand|vendor", _from(COMPANIES)),
        ("colou?r", _from(COLOURS)),
        ("currency", _from(CURRENCIES)),
        ("lang|language|locale", _from(LANGUAGES)),
        ("status|state", _from(STATES)),
        ("datetime|timestamp", lambda draws: f"{date(draws)}T{clock(draws)}Z"),
        ("date|day|birthday|deadline", date),
        ("time", clock),
        ("zip|zipcode|postcode|postal_code", lambda draws: str(draws.between(10000, 99999))),
        ("id|ids|uuid|code|key|sku|token", identifier),
        ("name|author|user|username|person|customer|contact|owner|speaker", full_name),
        ("title|subject|headline|heading|label|topic", title),
        (
            "description|summary|text|content|message|body|reason|reasoning|explanation|comment|notes?|answer|response"
            "|details?|thoughts?|analysis|question|query|output|steps?|review|bio|abstract|conclusion",
            sentences,
        ),
    )
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


def for_name(name: str, draws: Draws) -> str:
    """A string that suits the property `name` ("" for none)."""
    if name:
        snake = _CAMEL.sub("_", name).lower()
        for pattern, make in _HINTS:
            if pattern.search(snake):
                return make(draws)
    return words(draws)
