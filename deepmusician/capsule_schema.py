"""What a capsule may say: its JSON, checked value by value and made anew from what is known, so that nothing else of a
stranger's file is kept.

Text is made plain: unprintable signs go, and brackets that a page could take for a link, a picture or a tag become
round. Numbers are finite and within the ranges of the options. Every refusal is a CapsuleError of one sentence.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from deepmusician.errors import CapsuleError, OptionError
from deepmusician.options import GenerateOptions, TrainOptions, from_dict, to_dict

DEEPEST = 12  # brackets within brackets
MOST_EPOCHS, MOST_SONGS, MOST_FILES = 10_000, 100_000, 1_100
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,39}")
SHA = re.compile(r"[0-9a-f]{64}")
_PLAIN = str.maketrans({"[": "(", "]": ")", "<": "‹", ">": "›", "`": "'"})
_SETTINGS = ("temperature", "top_p", "fullness")  # a card may hold them where a model was calibrated


def read_json(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object without numbers that are none. Raises CapsuleError."""

    def no_number(text: str) -> None:
        raise ValueError(f"it says {text}")

    try:
        deepest = depth = 0
        for sign in content:
            depth += (sign in b"[{") - (sign in b"]}")
            deepest = max(deepest, depth)
        if deepest > DEEPEST:
            raise ValueError("it is nested too deeply")
        values = json.loads(content.decode("utf-8"), parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise CapsuleError(f"{what} is no JSON of a capsule ({error}); export it anew") from None
    if not isinstance(values, dict):
        raise CapsuleError(f"{what} must hold an object, got a {type(values).__name__}; export it anew")
    return values


def text(values: dict, name: str, longest: int = 500, default: str | None = None) -> str:
    """A string of at most `longest` characters, made plain."""
    value = values.get(name, default)
    if not isinstance(value, str) or len(value) > longest:
        raise CapsuleError(f"{name} in the capsule must be a text of at most {longest:,} characters")
    return plain(value)


def plain(value: str) -> str:
    """`value` without signs that a page could take for more than text."""
    return "".join(c for c in value if c.isprintable() or c == "\n").translate(_PLAIN)


def number(values: dict, name: str, low: float, high: float, whole: bool = False) -> Any:
    """A finite number from `low` to `high`."""
    value = values.get(name)
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good or not low <= value <= high:
        raise CapsuleError(f"{name} in the capsule must be a number from {low:g} to {high:g}, got {str(value)[:40]}")
    return value


def rows(values: dict, name: str, most: int) -> list[dict]:
    """A list of at most `most` objects."""
    found = values.get(name, [])
    if not isinstance(found, list) or len(found) > most or not all(isinstance(row, dict) for row in found):
        raise CapsuleError(f"{name} in the capsule must be a list of at most {most:,} objects")
    return found


def part(values: dict, name: str) -> dict:
    """An object within an object; empty where it is left out."""
    found = values.get(name, {})
    if not isinstance(found, dict):
        raise CapsuleError(f"{name} in the capsule must be an object")
    return found


def numbers(values: Any, what: str) -> dict[str, float | bool | None]:
    """An object that holds finite numbers under words, such as scores."""
    if not isinstance(values, dict) or len(values) > 100:
        raise CapsuleError(f"{what} in the capsule must be an object of at most 100 numbers")
    for name, value in values.items():
        fine = value is None or (isinstance(value, (int, float)) and math.isfinite(value))
        if not fine or not WORD.fullmatch(name):
            raise CapsuleError(f"{what} in the capsule must hold numbers, got {str(value)[:40]!r} as {name[:40]!r}")
    return values


def options(values: dict, name: str = "options") -> TrainOptions:
    """The options of a training; those of another version that this one does not know are refused."""
    given = {k: plain(v)[:1000] if isinstance(v, str) else v for k, v in part(values, name).items()}
    try:
        return from_dict(TrainOptions, given)
    except (OptionError, TypeError, ValueError, ArithmeticError) as error:
        raise CapsuleError(f"the capsule's options are impossible: {error}") from None


def report(values: dict, epoch: int) -> dict[str, Any]:
    """What was measured after one epoch."""
    if number(values, "epoch", 1, MOST_EPOCHS, whole=True) != epoch:
        raise CapsuleError(f"the capsule's reports must follow one another, got {values['epoch']} as number {epoch}")
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if name == "warnings":
            if not isinstance(value, list) or len(value) > 20:
                raise CapsuleError("warnings in the capsule must be a list of at most 20 sentences")
            kept[name] = [text({"warning": w}, "warning") for w in value]
        elif isinstance(value, dict):
            kept |= {name: numbers(value, name)} if WORD.fullmatch(name) else {}
        else:
            kept |= numbers({name: value}, "a report")
    for name in ("train", "valid"):
        if name == "valid" and kept.get(name) is None:
            kept[name] = None
            continue
        for score in ("loss", "nll"):
            number(part(kept, name), score, -1e9, 1e9)
    return kept


def song(values: dict) -> dict[str, Any]:
    """What is told of one song: its name, its length, its side and its hash."""
    if not SHA.fullmatch(str(values.get("sha256"))):
        raise CapsuleError("the capsule's songs must each have a sha256 of 64 hexadecimal digits")
    return {
        "name": text(values, "name"),
        "frames": number(values, "frames", 0, 10**9, whole=True),
        "held_out": values.get("held_out") is True,
        "sha256": values["sha256"],
    }


def card(values: dict) -> dict[str, Any]:
    """A model's card, made anew from what is known; its `model` is compared with the weights by `checkpoint`."""
    data = part(values, "data")
    kept: dict[str, Any] = {
        "model": part(values, "model"),
        "version": text(values, "version", 40),
        "title": text(values, "title", default=""),
        "command": text(values, "command", 5000, ""),
        "data": {
            "source": text(data, "source", 5000, ""),
            "songs": number(data, "songs", 1, 10**7, whole=True),
            "frames": number(data, "frames", 1, 10**10, whole=True),
            "density": number(data, "density", 0, 88),
            "held_share": number(data, "held_share", 0, 1),
            "styles": _texts(data, "styles", 1024),
            "held_out": _texts(data, "held_out", MOST_SONGS),
            "fingerprint": text(data, "fingerprint", 64, ""),
        },
        "options": to_dict(options(values)),
        "threshold": number(values, "threshold", 0, 1),
        "epoch": number(values, "epoch", 0, MOST_EPOCHS, whole=True),
    }
    scores = part(values, "scores")
    if scores:
        flat = {k: v for k, v in scores.items() if not isinstance(v, dict)}
        kept["scores"] = numbers(flat, "scores") | {
            k: numbers(v, "scores") for k, v in scores.items() if isinstance(v, dict) and WORD.fullmatch(k)
        }
    settings = {k: number(values, k, 0, 100) for k in _SETTINGS if k in values}
    try:
        from_dict(GenerateOptions, settings)
    except OptionError as error:
        raise CapsuleError(f"the capsule's settings are impossible: {error}") from None
    return kept | settings


def _texts(values: dict, name: str, most: int) -> list[str]:
    found = values.get(name, [])
    if not isinstance(found, list) or len(found) > most:
        raise CapsuleError(f"{name} in the capsule must be a list of at most {most:,} texts")
    return [text({name: value}, name) for value in found]
