"""Invented names of people and organisations, written in the script of every language.

A name is built of syllables with the vowels a, i and o, the ones that all the scripts tell apart. Surnames end in i or
o, names of organisations in a; with such an ending a Russian surname does not decline, nor do the first names below.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import permutations, product

from tools.mini.settings import DEV_NAMES, TEST_NAMES, VERSION

CONSONANTS = "bdklmnstv"
VOWELS = "aio"

#: Place of a language's script in the first names; 0 is Latin.
SCRIPTS = {"ru": 1, "ar": 2, "hi": 3, "zh": 4, "ja": 5}

#: They begin with a consonant, which spares the French elisions.
MEN = (
    ("Marco", "Марко", "ماركو", "मार्को", "马可", "マルコ"),
    ("Bruno", "Бруно", "برونو", "ब्रूनो", "布鲁诺", "ブルーノ"),
    ("Diego", "Диего", "دييغو", "डिएगो", "迭戈", "ディエゴ"),
    ("Pablo", "Пабло", "بابلو", "पाब्लो", "巴勃罗", "パブロ"),
    ("Leo", "Лео", "ليو", "लियो", "莱奥", "レオ"),
    ("Mario", "Марио", "ماريو", "मारियो", "马里奥", "マリオ"),
    ("Paolo", "Паоло", "باولو", "पाओलो", "保罗", "パオロ"),
    ("Luigi", "Луиджи", "لويجي", "लुइजी", "路易吉", "ルイージ"),
    ("Tito", "Тито", "تيتو", "टीटो", "蒂托", "ティト"),
    ("Nico", "Нико", "نيكو", "निको", "尼科", "ニコ"),
)
WOMEN = (
    ("Carmen", "Кармен", "كارمن", "कारमेन", "卡门", "カルメン"),
    ("Naomi", "Наоми", "نعومي", "नाओमी", "娜奥米", "ナオミ"),
    ("Sophie", "Софи", "صوفي", "सोफ़ी", "苏菲", "ソフィー"),
    ("Judith", "Джудит", "جوديث", "जूडिथ", "朱迪思", "ジュディス"),
    ("Nelly", "Нелли", "نيلي", "नेली", "内莉", "ネリー"),
    ("Marion", "Марион", "ماريون", "मैरियन", "玛丽昂", "マリオン"),
    ("Susan", "Сьюзен", "سوزان", "सुज़न", "苏珊", "スーザン"),
    ("Karin", "Карин", "كارين", "करिन", "卡琳", "カリン"),
    ("Doris", "Дорис", "دوريس", "डोरिस", "多丽丝", "ドリス"),
    ("Margot", "Марго", "مارغو", "मार्गो", "玛戈", "マルゴ"),
)
LETTERS = {
    "ru": dict(zip(CONSONANTS + VOWELS, "бдклмнстваио", strict=True)),
    "ar": dict(zip(CONSONANTS + VOWELS, "بدكلمنستفايو", strict=True)),
    "hi": dict(zip(CONSONANTS + VOWELS, ("ब", "ड", "क", "ल", "म", "न", "स", "ट", "व", "ा", "ि", "ो"), strict=True)),
}  #: Syllables before what writes them.
SYLLABLES = {
    "zh": "ba巴 da达 ka卡 la拉 ma马 na纳 sa萨 ta塔 va瓦 bi比 di迪 ki基 li利 mi米 ni尼 si西 ti蒂 vi维 "
    "bo博 do多 ko科 lo洛 mo莫 no诺 so索 to托 vo沃",
    "ja": "baバ daダ kaカ laラ maマ naナ saサ taタ vaヴァ biビ diディ kiキ liリ miミ niニ siシ tiティ viヴィ "
    "boボ doド koコ loロ moモ noノ soソ toト voヴォ",
}
TABLES = {language: {word[:2]: word[2:] for word in line.split()} for language, line in SYLLABLES.items()}

#: Rude or misleading words that the syllables can make.
EXCLUDED = """
sodomi vomito monako somali salami latino kasino domino manila malaka makita mikasa satano satani sadomi bolivi nikola
damasko
"""


def spell(syllables: str, language: str) -> str:
    """Write a name such as ``talovi`` in the script of ``language``."""
    if language in TABLES:
        return "".join(TABLES[language][syllables[i : i + 2]] for i in range(0, len(syllables), 2))
    if language in LETTERS:
        text = "".join(LETTERS[language][letter] for letter in syllables)
        if language == "hi" and syllables.endswith("i"):
            text = text[:-1] + "ी"  # a final i is long in Hindi spelling
        return text if language != "ru" else text.capitalize()
    return syllables.capitalize()


def full_name(first: tuple[str, ...], surname: str, language: str) -> str:
    """First name and surname; the Chinese and Japanese dot of foreign names between them."""
    between = {"zh": "·", "ja": "・"}.get(language, " ")
    return first[SCRIPTS.get(language, 0)] + between + spell(surname, language)


@cache
def pools(split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The surnames and the organisations that ``split`` may use; the splits share none."""
    return _pool("io", split), _pool("a", split)


def _pool(endings: str, split: str) -> tuple[str, ...]:
    excluded = EXCLUDED.split()
    names = [
        word
        for (x, y, z) in permutations(CONSONANTS, 3)
        for a, b, c in product(VOWELS, VOWELS, endings)
        if (word := x + a + y + b + z + c) not in excluded
    ]
    random.Random(f"{VERSION}/names/{endings}").shuffle(names)
    test, dev = int(len(names) * TEST_NAMES), int(len(names) * (TEST_NAMES + DEV_NAMES))
    return tuple({"test": names[:test], "dev": names[test:dev], "train": names[dev:]}[split])
