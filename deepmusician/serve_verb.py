"""`deepmusician serve`: open the studio, to oneself or to others, and to others only with a way to tell them apart."""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from deepmusician.errors import DoorError
from deepmusician.flags import verb as _verb
from deepmusician.people import CLASS, OIDC, check_code, forget_word, names, new_code
from deepmusician.workspace import CODE_VARIABLE, DOOR_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
HERE = "127.0.0.1"


def add_serve_verb(verbs: Any) -> None:
    """The verb and its flags."""
    verb = _verb(verbs, "serve", serve, "open the studio: to you alone, to a class, or behind a sign-in (OIDC)")
    verb.add_argument("--address", default=HERE, help=f"where to listen (default: {HERE}, this machine only)")
    verb.add_argument("--port", type=int, default=8501, help="the port to listen at (default: 8501)")
    doors = verb.add_mutually_exclusive_group()
    doors.add_argument(
        "--class", dest="door", action="store_const", const=CLASS,
        help="everybody types the code of the class, a name and a word of their own; each has a workspace of their own",
    )  # fmt: skip
    doors.add_argument(
        "--oidc", dest="door", action="store_const", const=OIDC,
        help="everybody signs in with the provider in .streamlit/secrets.toml; each has a workspace of their own",
    )  # fmt: skip
    verb.add_argument("--code", help="the code of the class (default: a new one, which is printed)")
    verb.add_argument("--names", action="store_true", help="only list who has come to the class")
    verb.add_argument("--forget", metavar="NAME", help="only let NAME choose a word anew, where it was forgotten")


def serve(args: argparse.Namespace) -> int:
    """Check that nobody can come in unknown, then hand over to Streamlit."""
    if args.names:
        print("\n".join(names()) or "nobody has come to the class yet")
        return 0
    if args.forget:
        forget_word(args.forget)
        return 0
    command, environment = prepare(args.address, args.port, args.door, args.code)
    if args.door == CLASS:
        print(f"The code of the class: {environment[CODE_VARIABLE]}", file=sys.stderr)
    if not is_here(args.address):
        print("What is typed travels unencrypted unless a proxy adds TLS; SECURITY.md says how.", file=sys.stderr)
    return _become(command, environment)


def _become(command: list[str], environment: dict[str, str]) -> int:
    """Run the command in place of this process, so that whoever ends this one, as systemd does, ends the studio."""
    if os.name == "nt":  # which has no such thing: Windows starts a second process and ends the first
        return subprocess.call(command, cwd=ROOT, env=environment)
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(ROOT)
    os.execve(command[0], command, environment)


def prepare(address: str, port: int, door: str | None, code: str | None = None) -> tuple[list[str], dict[str, str]]:
    """The command that opens the studio, and its environment. Raises DoorError where anybody could come in unknown."""
    if not 1 <= port <= 65_535:
        raise DoorError(f"a port must be 1 to 65535, got {port}")
    if not (ROOT / "app.py").is_file():
        raise DoorError(f"the studio's app.py is not at {ROOT}; run this from a copy of the whole project")
    if door is None and not is_here(address):
        raise DoorError(closed(address))
    if code and door != CLASS:
        raise DoorError("--code is the code of a class; give --class with it")
    if door == OIDC:
        check_oidc([ROOT / ".streamlit" / "secrets.toml", Path.home() / ".streamlit" / "secrets.toml"])
    environment = {k: v for k, v in os.environ.items() if k not in (DOOR_VARIABLE, CODE_VARIABLE)}
    if "DEEPMUSICIAN_HOME" in environment:  # the studio stands elsewhere
        environment["DEEPMUSICIAN_HOME"] = str(Path(environment["DEEPMUSICIAN_HOME"]).expanduser().absolute())
    if door:
        environment[DOOR_VARIABLE] = door
    if door == CLASS:
        environment[CODE_VARIABLE] = check_code(code) if code else new_code()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py")]
    return [*command, f"--server.address={address}", f"--server.port={port}"], environment


def is_here(address: str | None) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return address == "localhost" or ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def closed(address: str | None) -> str:
    """Why the studio does not open at an address that others reach."""
    return (
        f"at {address or 'every address of this machine'} anybody on the network could come in, nobody be told from "
        "another; open it with `deepmusician serve --class` or `--oidc`, or at 127.0.0.1"
    )


def check_oidc(places: list[Path]) -> None:
    """Raises DoorError where Streamlit could not sign anybody in."""
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DoorError(f"--oidc needs [auth] in {places[0]}; SECURITY.md shows what goes in")
    try:
        auth = tomllib.loads(found.read_text("utf-8")).get("auth")
    except (OSError, ValueError) as error:
        raise DoorError(f"{found} cannot be read ({error}); mend it") from None
    auth = auth if isinstance(auth, dict) else {}
    wanted = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
    if missing := [name for name in wanted if not auth.get(name)]:
        raise DoorError(f"[auth] in {found} lacks {', '.join(missing)}; SECURITY.md shows what goes in")
    if len(str(auth["cookie_secret"])) < 32:
        raise DoorError(f"cookie_secret in {found} must have 32 random letters at least, or sign-ins can be forged")
    try:
        importlib.import_module("authlib.integrations.starlette_client")
    except ImportError as error:
        raise DoorError(f"--oidc cannot sign anybody in ({error}); pip install 'Authlib>=1.3.2,<2' httpx") from None
