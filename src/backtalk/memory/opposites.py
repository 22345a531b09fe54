"""Words that exclude each other, and words that say nothing about the subject of a statement."""

from __future__ import annotations


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


EXCLUSIVE: dict[str, tuple[str, ...]] = {
    # Each value is a list of its wordings, separated by "|"; they are compared by stem.
    "units": (
        (
            "metric|kilometre|kilometer|kilogram|centimetre|centimeter|metre|meter|litre|liter|celsius"
            "|centigrade|km|kg|si"
        ),
        "imperial|us customary|mile|pound|fahrenheit|inch|inches|foot|feet|ounce|lb",
    ),
    "length": (
        (
            "short|shorter|brief|briefly|briefer|concise|terse|succinct|to the point|compact"
            "|one sentence|one line|in a nutshell|short and sweet"
        ),
        (
            "long|longer|detailed|in detail|more detail|verbose|thorough|in depth|elaborate|lengthy"
            "|comprehensive|exhaustive|at length|extensive"
        ),
    ),
    "tone": (
        "formal|formally|official",
        "informal|informally|casual|casually|colloquial|chatty|relaxed",
    ),
    "politeness": ("polite|politely|gentle", "blunt|bluntly|rude"),
    "form of address": ("first name|given name", "last name|surname|family name"),
    "German address": ("du", "sie"),
    "French address": ("tu", "vous"),
    "spelling": ("british|uk english|commonwealth", "american|us english"),
    "list style": ("numbered|numbers|numerical", "bulleted|bullet|bullets"),
    "layout": (
        "bullet point|bullet points|bullet list|bullets|list|bulleted list",
        "prose|paragraph|flowing text|full sentence|continuous text",
        "table",
    ),
    "markup": ("markdown", "plain text|plaintext", "html", "latex"),
    "case": (
        "lowercase|lower case|small letter",
        "uppercase|upper case|capital|all caps|capital letter|block letter",
    ),
    "clock": (
        "24 hour|24h|24-hour|24-hour clock|military time",
        "12 hour|12h|12-hour|12-hour clock|am pm|a.m. p.m.",
    ),
    "date order": (
        "iso|iso 8601|yyyy-mm-dd|year first",
        "dd/mm/yyyy|dd.mm.yyyy|dd-mm-yyyy|day first|day month year",
        "mm/dd/yyyy|mm-dd-yyyy|month first|month day year",
    ),
    "person": ("first person", "second person", "third person"),
    "tense": ("past tense", "present tense", "future tense"),
    "grammatical voice": ("active voice", "passive voice"),
    "theme": ("dark mode|dark theme", "light mode|light theme"),
    "order": (
        "ascending|oldest first|chronological",
        "descending|newest first|latest first|reverse chronological|most recent first",
    ),
    "alphabetical": ("alphabetical|alphabetically|by name", "by date|by price|by size"),
    "position": (
        "at the top|at the beginning|at the start|at the front|first",
        "at the end|at the bottom|last|at the very end",
    ),
    "side": (
        "left|left aligned|on the left|left-handed|left-hand",
        "on the right|right aligned|right-handed|align right|right-hand",
    ),
    "time of day": ("morning|mornings|before noon", "afternoon", "evening", "night"),
    "level": (
        "beginner|layman|layperson|plain language|simple|simply|non-technical|easy",
        "expert|technical|advanced|jargon|specialist",
    ),
    "mood": ("serious|seriously|sober", "funny|humorous|playful|witty"),
    "amount": ("more", "less|fewer"),
    "frequency": (
        "hourly|every hour",
        "daily|every day|each day",
        "weekly|every week|each week",
        "monthly|every month|each month",
        "quarterly|every quarter",
        "yearly|annually|every year",
    ),
    "seat": ("window", "aisle"),
    "diet": ("vegetarian|vegan|meatless|plant based", "meat|meat eater|omnivore|carnivore"),
    "transport": ("train|rail|railway", "flight|plane|fly|flying|by air", "car|drive|driving"),
    "marriage": ("married", "single|divorced|unmarried"),
    "indentation": ("tab", "space"),
    "quotes": (
        "single quote|single-quote|single quoted",
        "double quote|double-quote|double quoted",
    ),
    "naming": ("snake_case|snake case", "camelcase|camel case", "kebab-case|kebab case"),
    "currency": ("euro|eur", "dollar|usd", "pound|pound sterling|gbp", "yen|jpy", "franc|chf"),
    "channel": ("by e-mail|by mail|email me|e-mail me", "by phone|call me|by text|by sms"),
    "milk": ("with milk|white coffee", "black coffee|without milk"),
    "speed": ("fast|quick|quickly|rapidly", "slow|slowly"),
    "size": ("big|large|bigger|larger", "small|tiny|smaller"),
    "temperature": ("hot|warm", "cold|iced|chilled"),
    "earliness": ("early|earlier", "late|later"),
    "price": ("cheap|cheapest|budget|inexpensive", "expensive|luxury|premium"),
    "height": ("high|higher|tall", "low|lower"),
    "visibility": ("public|publicly", "private|privately|confidential"),
    "switch": ("turn on|switch on|enable|enabled", "turn off|switch off|disable|disabled"),
    "loudness": ("loud|loudly", "quiet|quietly"),
    "taste": ("sweet", "savoury|savory|salty"),
    "state": ("open", "closed|shut"),
    "agreement": ("accept", "reject|decline|refuse"),
}
"""Subjects with values of which one holds at a time."""

ONE_OF_MANY: dict[str, str] = {
    "language": "english|french|german|spanish|italian|portuguese|dutch|swedish|norwegian|danish"
    "|finnish|polish|czech|hungarian|romanian|greek|turkish|russian|ukrainian|arabic|hebrew"
    "|persian|hindi|bengali|urdu|chinese|mandarin|cantonese|japanese|korean|vietnamese|thai"
    "|indonesian|malay|swahili|latin|catalan|basque|welsh|irish",
    "programming language": "python|javascript|typescript|java|rust|golang|c++|c#|ruby|php|kotlin"
    "|swift|scala|haskell|julia|perl|fortran",
    "colour": "red|blue|green|yellow|orange|purple|pink|brown|black|white|grey|gray|violet"
    "|turquoise",
    "weekday": "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
    "month": "january|february|march|april|june|july|august|september|october|november|december",
}
"""Subjects of which a directive, a default or a favourite names one."""

ATTRIBUTES = words_of(
    "name surname nickname birthday birthplace age address email e-mail mail phone number job "
    "profession occupation employer company boss manager supervisor wife husband spouse "
    "partner doctor dentist landlord city town country hometown nationality timezone zone "
    "budget deadline password username size weight height editor browser bank airline airport "
    "school university major title pronoun salary rent price capital ceo president mayor "
    "owner author default location office room seat language currency allergy"
)
"""Attributes with one value at a time."""

SINGULAR = words_of("favourite favorite preferred default main primary current usual own")
"""Adjectives that give an attribute one value at a time."""

COUNTRIES = words_of(
    "argentina australia austria belgium brazil bulgaria canada chile china colombia croatia "
    "cuba denmark egypt england estonia ethiopia finland france germany ghana greece hungary "
    "iceland india indonesia iran iraq ireland israel italy japan kenya latvia lithuania "
    "malaysia mexico morocco nepal netherlands nigeria norway pakistan peru philippines "
    "poland portugal romania russia scotland serbia singapore slovakia slovenia spain sweden "
    "switzerland thailand tunisia turkey uganda ukraine uk usa vietnam wales europe asia "
    "africa america"
)

NEGATIVE = words_of(
    "no not never without avoid stop omit skip hide drop remove exclude refrain hate dislike "
    "forbid ban quit neither nor cease detest cannot delete zero detests hates dislikes "
    "avoids stops allergic lack forget"
)
"""Words that reverse a statement, as they are and by stem."""

INSTRUCTION = words_of(
    "use using used write give keep make be is are am was were been prefer like love want bring "
    "need enjoy put add include mention show tell say start begin insert have has had do does "
    "did let get go will would should must shall can could may might try please always ensure "
    "sure provide produce return present display format answer reply respond speak talk set "
    "apply employ adopt switch stick state describe explain express refer "
    "suggest recommend propose offer"
)
"""Verbs that say to do a thing; its subject is in the other words."""

GENERIC = words_of(
    "answer reply response message text output result thing way manner everything anything "
    "user users rather d ll m re ve s t something it this that these those them all any every "
    "each my your our me you i we us "
    "mine yours one ones only just also too very really quite rather so such much many lot "
    "always again now on from onwards today future after instead actually well ok okay yes oh "
    "sorry wait hmm please thanks thank kindly still yet back ever even anymore longer more"
)
"""Words that say nothing about the subject."""

FUNCTION = words_of(
    "a an the and or but of in on at to for with by as into onto about from than then when "
    "whenever if while during over under between his her its their he she they him who which "
    "what there here up out off own both either"
)

NEUTRAL: dict[str, frozenset[str]] = {
    "units": words_of("unit measurement measure system"),
    "length": words_of("length"),
    "tone": words_of("tone style register language voice writing manner"),
    "politeness": words_of("tone style"),
    "form of address": words_of("address call name"),
    "spelling": words_of("spelling english spell"),
    "list style": words_of("list point format"),
    "layout": words_of("format form style write point full"),
    "diet": words_of("dish dishe food meal recipe eat option menu"),
    "transport": words_of("travel connection ticket"),
    "markup": words_of("format formatting syntax"),
    "case": words_of("letter letters case"),
    "clock": words_of("time clock format hour"),
    "date order": words_of("date format order"),
    "order": words_of("order sort list"),
    "level": words_of("term language word level detail"),
    "mood": words_of("tone style"),
    "indentation": words_of("indent indentation code"),
    "theme": words_of("theme mode"),
    "language": words_of("language"),
    "programming language": words_of("code example program snippet language"),
    "currency": words_of("currency amount price"),
    "quotes": words_of("string quote mark"),
    "seat": words_of("seat book reserve choose pick"),
    "naming": words_of("name variable"),
}
"""Words that name a subject itself."""

SYNONYMS = {
    "emojis": "emoji",
    "smiley": "emoji",
    "emoticon": "emoji",
    "salutation": "greeting",
    "closing": "sign-off",
    "picture": "image",
    "photo": "image",
    "photograph": "image",
    "citation": "source",
    "cite": "source",
    "joke": "humour",
    "humor": "humour",
    "summarise": "summary",
    "summarize": "summary",
    "apology": "apologise",
    "apologize": "apologise",
    "illustration": "image",
    "swear": "profanity",
    "curse": "profanity",
    "link": "hyperlink",
    "url": "hyperlink",
}
"""Common name of words, by stem, that mean the same."""
