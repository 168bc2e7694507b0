"""Who may come in where a studio is open to others, and whose folder is whose.

A class: everybody is told the code of the class, and takes a name and a word of their own when they first come; from
then on that name opens with that word alone. Of a word only a salted hash is kept (scrypt). Or persons are known by
their identity provider (OIDC), which answers for them. Either way a person is an id, and the id is a folder's name.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from deepmusician.atomic import replace_file
from deepmusician.errors import DoorError
from deepmusician.workspace import PEOPLE, home

CLASS, OIDC = "class", "oidc"  # the doors there are
REGISTER = "class.json"
SHORTEST_WORD, SHORTEST_CODE, LONGEST = 6, 6, 80  # characters
MOST_PEOPLE = 2_000  # names a class may hold, so that nobody fills the disk with them
TRIES, PAUSE = 5, 60.0  # after so many wrong words a name stays closed for some seconds
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another
_COST = {"n": 2**14, "r": 8, "p": 1}  # 16 MB and some 50 ms a guess

_wrong: dict[str, tuple[int, float]] = {}  # of a person: wrong words since the last right one, and when
_guard = threading.Lock()
_one_hash = threading.Lock()  # a crowd at the door takes turns, not memory


@dataclass(frozen=True)
class Person:
    """Somebody who came in: the id that names their folder, and what they are called on the page."""

    id: str
    name: str


def new_code() -> str:
    """A code for a class that cannot be guessed and is easily read aloud."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(2))


def check_code(code: str) -> str:
    """The code, if it will do. Raises DoorError."""
    if not SHORTEST_CODE <= len(code) <= LONGEST or not code.isprintable():
        raise DoorError(f"a class's code must have {SHORTEST_CODE} to {LONGEST} letters or digits, got {len(code)}")
    return code


def enter(name: str, word: str, code: str, code_of_class: str) -> Person:
    """Let somebody of a class in, or take them up where the name is new. Raises DoorError, which tells no secret."""
    shown = " ".join(unicodedata.normalize("NFKC", name).split())
    if not shown or len(shown) > 40 or not shown.isprintable():
        raise DoorError("a name must have 1 to 40 letters; type the one you want to be called by")
    if not SHORTEST_WORD <= len(word) <= LONGEST:
        raise DoorError(f"your secret word must have {SHORTEST_WORD} to {LONGEST} letters; think of one nobody guesses")
    person = Person(_id("class", shown.casefold()), shown)
    _check_pause(person)
    if not hmac.compare_digest(code.strip().casefold().encode(), code_of_class.casefold().encode()):
        _count_wrong(person)
        raise DoorError("that is not the code of this class; ask who opened the studio for it")
    with FileLock(_folder() / ".class.lock"):
        known = _read()
        about = known.get(person.id)
        if about is None:
            if len(known) >= MOST_PEOPLE:
                raise DoorError(f"this class has {MOST_PEOPLE:,} names and takes no more; ask who opened the studio")
            salt = secrets.token_bytes(16)
            known[person.id] = {"name": shown, "salt": salt.hex(), "hash": _hash(word, salt)}
            _write(known)
            return person
    if not hmac.compare_digest(_hash(word, bytes.fromhex(about["salt"])), about["hash"]):
        _count_wrong(person)
        raise DoorError(
            f"the name {shown} is taken, and opens with another word; type the one you chose, or take another name"
        )
    with _guard:
        _wrong.pop(person.id, None)
    return Person(person.id, about["name"])


def known_by(issuer: str, subject: str, name: str) -> Person:
    """The person for whom an identity provider answers."""
    if not issuer or not subject:
        raise DoorError("the identity provider names nobody (no iss or sub); ask who opened the studio")
    return Person(_id(issuer, subject), name or "you")


def names() -> list[str]:
    """Who has come to the class, by name."""
    return sorted(about["name"] for about in _read().values())


def forget_word(name: str) -> None:
    """Let the next who types that name choose its word anew; the folder stays. Raises DoorError."""
    with FileLock(_folder() / ".class.lock"):
        known = _read()
        if known.pop(_id("class", " ".join(unicodedata.normalize("NFKC", name).split()).casefold()), None) is None:
            raise DoorError(f"nobody in the class is called {name}; there are: {', '.join(names()) or 'none yet'}")
        _write(known)


def _id(*parts: str) -> str:
    """Hexadecimal, the same for the same parts and no others: each is counted."""
    return hashlib.sha256("".join(f"{len(p)}:{p}" for p in parts).encode()).hexdigest()[:32]


def _check_pause(person: Person) -> None:
    with _guard:
        count, last = _wrong.get(person.id, (0, 0.0))
    left = last + PAUSE - time.monotonic()
    if count >= TRIES and left > 0:
        raise DoorError(f"{person.name} was tried with wrong words too often; wait {left:.0f} seconds")


def _count_wrong(person: Person) -> None:
    with _guard:
        if len(_wrong) > 10 * MOST_PEOPLE:
            _wrong.clear()
        _wrong[person.id] = (_wrong.get(person.id, (0, 0.0))[0] + 1, time.monotonic())


def _hash(word: str, salt: bytes) -> str:
    with _one_hash:
        return hashlib.scrypt(unicodedata.normalize("NFKC", word).encode(), salt=salt, **_COST).hex()


def _folder() -> Path:
    folder = home() / PEOPLE
    folder.mkdir(exist_ok=True)
    return folder


def _read() -> dict[str, dict[str, Any]]:
    try:
        return json.loads((_folder() / REGISTER).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # not taken for an empty one: every name would be free
        raise DoorError(
            f"the list of who is in the class cannot be read ({error}); ask who opened the studio"
        ) from None


def _write(known: dict[str, dict[str, Any]]) -> None:
    replace_file(_folder() / REGISTER, json.dumps(known, indent=1) + "\n")
