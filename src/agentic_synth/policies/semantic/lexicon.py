"""What single words do to a meaning: which carry none, which are the same word, and which turn a sentence around."""

from __future__ import annotations

__all__ = ["CLASSES", "DROPPED", "LEXICON", "LIGHT", "NUMBERS", "OPPOSITES", "PARTS_OF_WORDS", "TENS", "words"]


def words(text: str) -> frozenset[str]:
    """The words of *text*."""
    return frozenset(text.split())


_SAME = """
start begin commence|starts begins|started began begun|starting beginning|buy purchase|buys purchases|bought purchased
buying purchasing|movie film|movies films|big large|bigger larger|biggest largest|fast quick rapid|quickly rapidly
difficult hard|easy simple|child kid|children kids|car automobile|cars automobiles|help assist|use utilize utilise
using utilizing utilising|short brief concise|reply respond|mistake error|mistakes errors|story tale|stories tales
smart intelligent clever|ill sick|choose select pick|need require|needs requires|allow permit|fix repair mend
doctor physician|doctors physicians|lawyer attorney|lawyers attorneys|holiday vacation|tv television|info information
app application|apps applications|color colour|colors colours|favorite favourite|center centre|behavior behaviour
organize organise|analyze analyse|summary synopsis|advantage benefit|advantages benefits pros
disadvantage drawback|disadvantages drawbacks cons|photo photograph|photos photographs|math maths mathematics
km kilometer kilometre kilometers kilometres kms|kg kilogram kilograms kgs|cm centimeter centimeters centimetres
mm millimeter millimeters millimetres|lb pound lbs pounds|oz ounce ounces|hour hr hours hrs|minute min minutes mins
second sec seconds secs|percent %|and &|dollar $ dollars|euro € euros|vs versus|jan january|feb february|apr april
jun june|jul july|aug august|sep september sept|oct october|nov november|dec december|mon monday|tue tuesday
wed wednesday|thu thursday|fri friday|sat saturday|about regarding concerning|till until|anyone anybody
someone somebody|everyone everybody|what which
"""

_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_TENS = """twenty thirty forty fifty sixty seventy eighty ninety"""
NUMBERS = {word: str(value) for value, word in enumerate(_UNITS.split())}
TENS = {word: str(10 * value) for value, word in enumerate(_TENS.split(), 2)}

_CONTRACTED = {
    "n't": "not", "not": "not", "cannot": "can not", "can't": "can not", "don't": "not", "doesn't": "not",
    "isn't": "not", "aren't": "not", "won't": "will not", "wouldn't": "would not", "couldn't": "could not",
    "shouldn't": "should not", "didn't": "did not", "wasn't": "was not", "weren't": "were not", "hasn't": "has not",
    "haven't": "have not", "hadn't": "had not", "mustn't": "must not", "dont": "not", "doesnt": "not",
    "cant": "can not", "isnt": "not", "what's": "what", "whats": "what", "who's": "who", "where's": "where",
    "when's": "when", "why's": "why", "how's": "how", "that's": "", "it's": "it", "i'm": "i", "im": "i",
    "you're": "you", "we're": "we", "they're": "they", "he's": "he", "she's": "she", "there's": "", "i've": "i have",
    "you've": "you have", "we've": "we have", "they've": "they have", "i'll": "i will", "you'll": "you will",
    "he'll": "he will", "she'll": "she will", "we'll": "we will", "they'll": "they will", "it'll": "it will",
    "i'd": "i would", "you'd": "you would", "he'd": "he would", "she'd": "she would", "we'd": "we would",
    "they'd": "they would", "'ve": "have", "'ll": "will", "'d": "would", "wanna": "want to", "gonna": "going to",
}  # fmt: skip

# Present forms of be and do, articles and politeness carry no meaning of their own; a differing count is a soft edit.
DROPPED = words("a an the is are am be do does 's 'm 're of please kindly pls thanks")
LIGHT = words("some really actually just very exactly basically simply also there then so well that ever")

CLASSES: dict[str, frozenset[str]] = {
    "negation": words(
        "not no never none nothing without neither nor nobody nowhere hardly barely except unless excluding avoid "
        "stop lack"
    ),
    "comparative": words(
        "more less fewer most least best worst better worse than higher lower highest lowest greater greatest bigger "
        "smaller biggest smallest larger largest longer shorter longest shortest older younger oldest youngest faster "
        "slower fastest slowest cheaper cheapest stronger weaker earlier later above below over under exceeding"
    ),
    "quantifier": words(
        "all every each both many much few several most half only some any either always sometimes often rarely "
        "usually once twice double single multiple"
    ),
    "modality": words("can could will would should must may might shall ought need needs able"),
    "tense": words("did was were had has have been will going"),
    "question": words("what which who whom whose when where why how whether"),
    "unit": words(
        "km kilometer m meter meters metre metres mile miles foot feet inch inches cm mm kg gram grams g lb pound oz "
        "ton tons liter liters litre litres ml gallon gallons hour minute second day days week weeks month months year "
        "years percent % dollar $ euro € £ ¥ yen rupee rupees celsius fahrenheit kelvin mb gb tb kb mph kph hz khz mhz "
        "ghz volt volts watt watts word words line lines page pages sentence sentences"
    ),
    "date": words(
        "january february march april may june july august september october november december jan feb apr jun jul aug "
        "sep oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat today "
        "tomorrow yesterday tonight morning afternoon evening noon midnight spring summer autumn fall winter"
    ),
    "direction": words(
        "up down left right in out into onto from to before after between against toward towards through via by with "
        "north south east west inside outside upward downward since until for at on off as"
    ),
    "role": words(
        "i me my mine you your yours he him his she her hers it its we us our ours they them their theirs myself "
        "yourself himself herself"
    ),
    "symbol": words("+ - * / = < > ^ | ~ @ # { } [ ] \\"),
}

_OPPOSITES = """
hot cold|good bad|high low|old new|old young|up down|left right|increase decrease|rise fall|buy sell|open close
start end|start stop|first last|early late|win lose|love hate|like dislike|light dark|light heavy|easy hard|rich poor
strong weak|fast slow|big small|tall short|long short|wide narrow|deep shallow|full empty|true false|accept reject
accept decline|add remove|allow deny|approve reject|arrive depart|ascending descending|attack defend|before after
begin end|best worst|better worse|black white|borrow lend|boy girl|man woman|male female|brother sister|bull bear
cheap expensive|clean dirty|correct incorrect|create destroy|day night|deposit withdraw|east west|enable disable
encourage discourage|enter exit|export import|fail pass|fail succeed|father mother|find lose|float sink
formal informal|forward backward|friend enemy|front back|gain lose|give take|give receive|happy sad|husband wife
include exclude|input output|inside outside|internal external|join leave|king queen|legal illegal|lock unlock
login logout|loud quiet|major minor|married single|maximum minimum|max min|maximize minimize|merge split|more less
many few|most least|near far|north south|on off|optional required|parent child|past future|positive negative
possible impossible|present absent|private public|profit loss|public private|push pull|question answer|raise lower
read write|safe dangerous|same different|save spend|send receive|son daughter|success failure|summer winter
teach learn|upload download|upper lower|victory defeat|visible hidden|war peace|wet dry|wife husband|with without
zip unzip|gain weight|advantage disadvantage|pro con|active passive|acute chronic|asset liability|employer employee
teacher student|doctor patient|upstream downstream|encrypt decrypt|compress decompress|install uninstall
subscribe unsubscribe|attach detach|credit debit|supply demand
"""


def _opposites() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in _OPPOSITES.strip().replace("\n", "|").split("|"):
        one, other = pair.split()
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES = _opposites()

# A prompt that speaks of words, spelling or grammar is not free to have its other words replaced.
PARTS_OF_WORDS = words(
    "translate translation grammar spell spelling spelled plural singular tense synonym synonyms antonym antonyms "
    "rhyme rhymes word words letter letters syllable syllables pronounce pronunciation punctuation "
    "proofread correct sentence phrase meaning mean means etymology noun verb adjective character characters rewrite "
    "rephrase paraphrase typo typos"
)


def _lexicon() -> dict[str, tuple[str, ...]]:
    """Surface word -> the canonical words it stands for."""
    groups = (line.split() for line in _SAME.strip().replace("\n", "|").split("|"))
    table: dict[str, tuple[str, ...]] = {word: (group[0],) for group in groups for word in group}
    table |= {word: tuple(text.split()) for word, text in _CONTRACTED.items()}
    table |= {word: (digits,) for word, digits in NUMBERS.items()}
    return table | dict.fromkeys(DROPPED | LIGHT, ())


LEXICON = _lexicon()
