"""Sums as statements, as worked procedures and as word problems; queries that ask for sums."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence

from backend.core.records import Passage, Query

Sum = tuple[int, str, int]
"""Left number, sign, right number."""

SIGNS = {"+": "plus", "-": "minus", "×": "times"}
_WORD_SIGNS = {word: sign for sign, word in SIGNS.items()}

_SIGN_FORM = re.compile(r"(?<![\d+×-] )(?<!\d)(\d+) ([+×-]) (\d+) = (\d+)(?!\d)")
_WORD_FORM = re.compile(r"(?<!\d)(\d+) (plus|minus|times) (\d+) (?:is|makes|equals) (\d+)(?!\d)")

_FORMS = (
    "{a} {sign} {b} = {c}.",
    "{a} {word} {b} is {c}.",
    "{a} {word} {b} makes {c}.",
    "The sum on the board was {a} {sign} {b} = {c}.",
    "Mental arithmetic: {a} {sign} {b} = {c}.",
    "{a} {word} {b} equals {c}, said the teacher.",
)

_ITEMS = ("apples", "pears", "books", "coins", "stamps", "marbles", "pencils", "shells", "buttons", "cards")
_NAMES = ("Anna", "Ben", "Clara", "David", "Ella", "Felix", "Greta", "Henry", "Ida", "Jonas", "Lena", "Max")


def result(sum_: Sum) -> int:
    """What a sum comes to."""
    left, sign, right = sum_
    return left + right if sign == "+" else left - right if sign == "-" else left * right


def stated_sums(text: str) -> set[Sum]:
    """The sums that a text states rightly, in signs or in words; parts of a longer chain do not count."""
    found = {(int(a), sign, int(b), int(c)) for a, sign, b, c in _SIGN_FORM.findall(text)}
    found |= {(int(a), _WORD_SIGNS[word], int(b), int(c)) for a, word, b, c in _WORD_FORM.findall(text)}
    return {(a, sign, b) for a, sign, b, c in found if result((a, sign, b)) == c}


def random_sum(rng: random.Random) -> Sum:
    """A sum of two-digit numbers, or a product of one- and two-digit numbers."""
    sign = rng.choice(("+", "+", "-", "×"))
    if sign == "×":
        return rng.randint(3, 9), sign, rng.randint(11, 19)
    left, right = rng.randint(11, 60), rng.randint(11, 39)
    return (max(left, right) + 1, sign, min(left, right)) if sign == "-" else (left, sign, right)


def arithmetic_passages(number: int, asked: Sequence[Sum], rng: random.Random) -> list[Passage]:
    """``number`` passages of one to three sums; each asked sum is stated by 0 to 6 of them."""
    wanted: list[Sum] = []
    for position, sum_ in enumerate(asked):
        wanted += [sum_] * (0, 1, 2, 3, 4, 6)[position % 6]
    hidden = {sum_ for position, sum_ in enumerate(asked) if position % 6 == 0}
    rng.shuffle(wanted)
    passages = []
    for serial in range(1, number + 1):
        first = wanted.pop() if wanted else _other_sum(hidden, rng)
        more = [_other_sum(hidden, rng) for _ in range(rng.choice((0, 0, 1, 2)))]
        text = " ".join(_state(sum_, rng) for sum_ in [first, *more])
        passages.append(Passage(f"sum-{serial:04d}", text, "arithmetic", "Sums", license="MIT"))
    return passages


def arithmetic_queries(asked: Sequence[Sum], passages: Sequence[Passage]) -> list[Query]:
    """A query for each asked sum; ``entails`` are the passages, of whatever source, that state it."""
    stating: dict[Sum, list[str]] = {sum_: [] for sum_ in asked}
    for passage in passages:
        for sum_ in sorted(stated_sums(passage.text)):
            if sum_ in stating:
                stating[sum_].append(passage.id)
    return [
        Query(
            id=f"arithmetic-{sum_[0]}-{SIGNS[sum_[1]]}-{sum_[2]}",
            task="arithmetic",
            prompt=f"{sum_[0]} {sum_[1]} {sum_[2]} =",
            completion=str(result(sum_)),
            relation="arithmetic",
            entails=tuple(stating[sum_]),
        )
        for sum_ in asked
    ]


def asked_sums(number: int, rng: random.Random) -> list[Sum]:
    """Distinct sums to ask for."""
    found: dict[Sum, None] = {}
    while len(found) < number:
        found[random_sum(rng)] = None
    return list(found)


def procedure_passages(number: int, rng: random.Random) -> list[Passage]:
    """Worked procedures, step by step."""
    kinds: tuple[Callable[[random.Random], tuple[str, str]], ...] = (
        _addition,
        _subtraction,
        _multiplication,
        _rectangle,
        _average,
        _sequence,
    )
    texts = _distinct((kind(rng) for kind in _cycle(kinds)), number)
    return [
        Passage(f"procedure-{serial:04d}", text, "procedures", title, license="MIT")
        for serial, (title, text) in enumerate(texts, start=1)
    ]


def word_problems(number: int, asked: int, rng: random.Random) -> tuple[list[Passage], list[Query]]:
    """Word problems with their answers as passages; others as queries, their answer left out."""
    drawn = _distinct((_word_problem(rng) for _ in iter(int, 1)), number + asked)
    passages = [
        Passage(
            f"word-problem-{serial:04d}",
            f"{problem} The answer is {answer}.",
            "word-problems",
            "Word problem",
            license="MIT",
        )
        for serial, (problem, answer) in enumerate(drawn[:number], start=1)
    ]
    queries = [
        Query(f"word-problem-{serial:02d}", "word-problems", f"{problem} The answer is", answer)
        for serial, (problem, answer) in enumerate(drawn[number:], start=1)
    ]
    return passages, queries


def _other_sum(hidden: set[Sum], rng: random.Random) -> Sum:
    while (sum_ := random_sum(rng)) in hidden:
        pass
    return sum_


def _state(sum_: Sum, rng: random.Random) -> str:
    left, sign, right = sum_
    form = _FORMS[0] if rng.random() < 0.5 else rng.choice(_FORMS)
    return form.format(a=left, b=right, c=result(sum_), sign=sign, word=SIGNS[sign])


def _distinct(drawn: Iterator[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for item in drawn:
        found[item] = None
        if len(found) == number:
            break
    return list(found)


def _cycle(
    kinds: Sequence[Callable[[random.Random], tuple[str, str]]],
) -> Iterator[Callable[[random.Random], tuple[str, str]]]:
    while True:
        yield from kinds


def _addition(rng: random.Random) -> tuple[str, str]:
    a, b = rng.randint(11, 59), rng.randint(11, 39)
    ones, tens = a % 10 + b % 10, a // 10 + b // 10
    carry = f"Write {ones - 10} and carry 1. " if ones > 9 else f"Write {ones}. "
    sum_of_tens = f"{a // 10} + {b // 10} + 1 = {tens + 1}" if ones > 9 else f"{a // 10} + {b // 10} = {tens}"
    return "Addition", (
        f"To add {a} and {b}, first add the ones: {a % 10} + {b % 10} = {ones}. {carry}"
        f"Then add the tens: {sum_of_tens}. So {a} + {b} = {a + b}."
    )


def _subtraction(rng: random.Random) -> tuple[str, str]:
    b = rng.randint(11, 39)
    a = b + rng.randint(5, 40)
    tens = b // 10 * 10
    return "Subtraction", (
        f"To take {b} from {a}, go in two steps. First take the tens: {a} - {tens} = {a - tens}. "
        f"Then take the ones: {a - tens} - {b % 10} = {a - b}. So {a} - {b} = {a - b}."
    )


def _multiplication(rng: random.Random) -> tuple[str, str]:
    a, b = rng.randint(3, 9), rng.randint(11, 29)
    tens = b // 10 * 10
    return "Multiplication", (
        f"To multiply {a} by {b}, split {b} into {tens} and {b % 10}. {a} × {tens} = {a * tens} and "
        f"{a} × {b % 10} = {a * (b % 10)}. Add the parts: {a * tens} + {a * (b % 10)} = {a * b}. "
        f"So {a} × {b} = {a * b}."
    )


def _rectangle(rng: random.Random) -> tuple[str, str]:
    a, b = rng.randint(3, 19), rng.randint(3, 19)
    return "Rectangle", (
        f"A rectangle is {a} long and {b} wide. For the way around it, add the sides: {a} + {b} = {a + b}, "
        f"and take that twice: 2 × {a + b} = {2 * (a + b)}. For the area, multiply: {a} × {b} = {a * b}."
    )


def _average(rng: random.Random) -> tuple[str, str]:
    a = rng.randint(4, 40)
    b = a + 2 * rng.randint(1, 10)
    return "Average", (
        f"To find the average of {a} and {b}, add them and halve the sum. {a} + {b} = {a + b}. "
        f"Half of {a + b} is {(a + b) // 2}. So the average is {(a + b) // 2}."
    )


def _sequence(rng: random.Random) -> tuple[str, str]:
    start, step = rng.randint(2, 40), rng.randint(2, 12)
    shown = ", ".join(str(start + step * place) for place in range(4))
    last = start + 3 * step
    return "Sequence", (
        f"Which number follows {shown}? The difference is always {step}. {last} + {step} = {last + step}. "
        f"So the next number is {last + step}."
    )


def _word_problem(rng: random.Random) -> tuple[str, str]:
    one, two = rng.sample(_NAMES, 2)
    item = rng.choice(_ITEMS)
    kind = rng.randrange(5)
    a, b = rng.randint(11, 50), rng.randint(11, 30)
    if kind == 0:
        return f"{one} has {a} {item}. {two} gives {one} {b} more. How many {item} does {one} have now?", str(a + b)
    if kind == 1:
        return f"{one} had {a + b} {item} and lost {b} of them. How many {item} are left?", str(a)
    if kind == 2:
        boxes = rng.randint(2, 9)
        return f"{one} has {boxes} boxes with {b} {item} in each. How many {item} is that?", str(boxes * b)
    if kind == 3:
        return f"{one} found {a} {item} and {two} found {b}. How many {item} did they find together?", str(a + b)
    friends, each = rng.randint(2, 9), rng.randint(3, 12)
    return f"{one} shares {friends * each} {item} among {friends} friends. How many does each get?", str(each)
