"""Who may see the page: on this machine any page of ours; from elsewhere who knows the token.

Two attacks are closed that need no network access at all: a foreign web page that opens a websocket
to this machine (refused by its ``Origin``), and one that has its own name resolve to this machine
(refused by its ``Host``, where no token protects the page).
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talaria_edge.dashboard.address import is_loopback

COOKIE = "talaria_token"
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Talaria</title>
<meta name="viewport" content="width=device-width">
<body style="font:18px system-ui;margin:15vh auto;max-width:22rem;padding:0 1rem">
<h1>Talaria</h1><p>This page shows a person's movement and is closed to strangers. The token is in the
line that <code>talaria run</code> printed.</p><form><input name="token" type="password" autofocus
aria-label="Token" style="font:inherit;width:100%;box-sizing:border-box;padding:.6rem">
<button style="font:inherit;margin-top:.8rem;padding:.6rem 1.2rem">Open</button></form></body></html>"""


class Guard:
    """Let nothing through to the app, page or websocket, that may not be there.

    Parameters
    ----------
    app : ASGI application
    token : str or None
        None where only this machine can reach the server.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return PlainTextResponse("Another site's page may not use this one.", 403)
        if self._token is None:
            if is_loopback(_name(host)):
                return None
            return PlainTextResponse(f"{host!r} is not this machine: open localhost.", 403)
        if self._known(headers.get("authorization", "").removeprefix("Bearer ")):
            return None
        if self._known(_cookie(headers)):
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._known(asked):
            return _remembering(scope, self._token)
        return HTMLResponse(_ASK, 401)

    def _known(self, told: str) -> bool:
        # In constant time: how long a refusal takes must not tell how much of a guess was right.
        return hmac.compare_digest(told.encode(), (self._token or "").encode())


def _remembering(scope: Scope, token: str) -> Response | None:
    """Move the token out of the address, where history and screenshots would keep it."""
    if scope["type"] == "websocket":
        return None
    response = RedirectResponse(scope["path"], 303)
    response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
    return response


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return sending
