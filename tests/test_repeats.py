import pytest

from deepmusician.repeats import CANNOT, MAX_TIMES, Signs, expand


def played(measures: int, **signs) -> str:
    """The order of playing as letters: measure 0 is A."""
    return "".join("ABCDEFGH"[i] for i in expand(Signs(**signs), measures)[0])


@pytest.mark.parametrize(
    ("measures", "signs", "order"),
    [
        (3, {}, "ABC"),
        (3, {"starts": {1}, "ends": {1: 2}}, "ABBC"),
        (2, {"ends": {0: 2, 1: 2}}, "AABB"),  # A :| B :| , no opening sign
        (3, {"starts": {1}}, "ABC"),  # opened, never closed
        (4, {"starts": {0, 1}, "ends": {2: 2}}, "ABCBCD"),
        (2, {"ends": {0: 3}}, "AAAB"),
        (4, {"ends": {1: 2}, "endings": {(1, 1): {1}, (2, 2): {2}}}, "ABACD"),
        (4, {"ends": {1: 2, 2: 2}, "endings": {(1, 1): {1}, (2, 2): {2}}}, "ABACD"),
        (4, {"ends": {1: 2, 2: 2}, "endings": {(1, 1): {1, 2}, (2, 2): {3}}}, "ABABACD"),
        (4, {"ends": {1: 2}, "endings": {(1, 1): set(), (2, 2): set()}}, "ABACD"),  # endings without numbers
        (
            6,
            {"ends": {1: 2, 4: 2}, "endings": {(1, 1): {1}, (2, 2): {2}, (4, 4): {1}, (5, 5): {2}}},
            "ABACDEDF",
        ),
        (3, {"words": {"DaCapoAlFine": [2], "Fine": [0]}}, "ABCA"),
        (5, {"words": {"DaCapoAlCoda": [3], "Coda": [1, 4]}}, "ABCDABE"),
        (4, {"words": {"DalSegno": [2], "Segno": [1]}}, "ABCBCD"),
        (5, {"words": {"DalSegnoAlFine": [4], "Segno": [1], "Fine": [2]}}, "ABCDEBC"),
        (
            4,
            {"starts": {0, 2}, "ends": {1: 2, 3: 2}, "words": {"DaCapoAlFine": [3], "Fine": [1]}},
            "ABABCDCDAB",
        ),
        (
            4,
            {"ends": {1: 2}, "endings": {(1, 1): {1}, (2, 2): {2}}, "words": {"DaCapo": [3]}},
            "ABACDACD",  # after the da capo the last ending
        ),
    ],
)
def test_measures_are_played_as_a_musician_reads_the_signs(measures, signs, order):
    assert played(measures, **signs) == order


@pytest.mark.parametrize(
    "words",
    [
        {"DalSegno": [2]},
        {"DaCapoAlFine": [2]},
        {"DaCapoAlCoda": [2], "Coda": [1]},
        {"DaCapo": [1, 2]},
    ],
)
def test_words_without_their_goal_are_not_followed_and_it_is_said(words):
    assert expand(Signs(ends={0: 2}, words=words), 3) == ([0, 0, 1, 2], CANNOT)


def test_a_sign_that_asks_for_a_million_rounds_gets_sixteen():
    assert len(expand(Signs(ends={0: 1_000_000}), 1)[0]) == MAX_TIMES
