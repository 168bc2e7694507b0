"""A small OpenID provider for tests: it believes whoever says who they are, and keeps to the protocol otherwise.

Discovery, authorisation by code, a token signed with RS256, the key it is checked with, and an end of the session at
the provider. It knows nothing of the studio; `python tests/provider.py PORT` lets a person try a sign-in by hand.
"""

import base64
import html
import json
import secrets
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "studio", "a secret of the client"
FORM = """<link rel="icon" href="data:,"><h1>Who are you?</h1>
<form>{}<input name="as" aria-label="Name"><button>Sign in</button></form>"""


class Provider(ThreadingHTTPServer):
    """The provider and what it remembers: its key, the codes it gave out, and the ends of sessions it was asked for."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "1"})
        self.codes: dict[str, dict[str, str]] = {}
        self.ended: list[str] = []

    def discovery(self) -> dict:
        """What a client asks for first."""
        places = {"authorization": "authorize", "token": "token", "end_session": "end"}
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        } | {f"{name}_endpoint": f"{self.issuer}/{place}" for name, place in places.items()}

    def code(self, asked: dict[str, str]) -> str:
        """A code, good once, for who signed in."""
        code = secrets.token_urlsafe()
        self.codes[code] = asked
        return code

    def token(self, code: str) -> dict:
        """What a code is exchanged for. Raises KeyError where it was not given out or has been used."""
        asked = self.codes.pop(code)
        who, now = asked["as"], int(time.time())
        claims = {"iss": self.issuer, "sub": f"id-of-{who}", "aud": CLIENT, "iat": now, "exp": now + 600, "name": who}
        if "nonce" in asked:
            claims["nonce"] = asked["nonce"]
        signed = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)
        return {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 600, "id_token": signed}


class _Answer(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        place, asked = urlsplit(self.path).path, _flat(urlsplit(self.path).query)
        if place == "/.well-known/openid-configuration":
            self._json(self.server.discovery())
        elif place == "/jwks":
            self._json({"keys": [self.server.key.as_dict(private=False)]})
        elif place == "/authorize" and asked.get("client_id") == CLIENT and asked.get("as"):
            back = {"code": self.server.code(asked), "state": asked["state"]}
            self._go(f"{asked['redirect_uri']}?{urlencode(back)}")
        elif place == "/authorize" and asked.get("client_id") == CLIENT:
            hidden = (f'<input type="hidden" name="{k}" value="{html.escape(v)}">' for k, v in asked.items())
            self._say(FORM.format("".join(hidden)), "text/html")
        elif place == "/end":
            self.server.ended.append(jwt.decode(asked["id_token_hint"], self.server.key).claims["name"])
            self._go(asked["post_logout_redirect_uri"])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        asked = _flat(self.rfile.read(int(self.headers["Content-Length"])).decode())
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        try:
            if self.headers["Authorization"] != f"Basic {basic}":
                raise KeyError
            self._json(self.server.token(asked["code"]))
        except KeyError:
            self.send_error(400)

    def _go(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def _json(self, what: dict) -> None:
        self._say(json.dumps(what), "application/json")

    def _say(self, text: str, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *what: object) -> None:
        """Say nothing: a test reads what the studio says."""


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def provider():
    """A provider on a free port, for as long as it is needed."""
    with Provider() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def secrets_toml(issuer: str, studio: str) -> str:
    """What `.streamlit/secrets.toml` holds for a studio at that address."""
    auth = {
        "redirect_uri": f"{studio}/oauth2callback",
        "cookie_secret": secrets.token_urlsafe(32),
        "client_id": CLIENT,
        "client_secret": SECRET,
        "server_metadata_url": f"{issuer}/.well-known/openid-configuration",
    }
    return "[auth]\n" + "".join(f'{name} = "{value}"\n' for name, value in auth.items())


if __name__ == "__main__":
    with Provider(int(sys.argv[1])) as by_hand:
        print(by_hand.issuer)
        by_hand.serve_forever()
