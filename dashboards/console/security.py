"""What protects a page: security headers, bounded bodies, and forms that only our own pages can send.

A form carries HMAC-SHA256(the visitor's cookie, "form"): who can't read the cookie, which scripts can't either, can't make
the token. A request whose browser says that another site sent it is refused as well (Sec-Fetch-Site).
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime

from fastapi import Request, Response
from starlette.datastructures import FormData, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.console.problems import Problem

VISITOR = "driftlock_visitor"
MAX_FORM_BYTES = 64 << 10
MAX_UPLOAD_BYTES = 20 << 20
_UPLOAD_ROOM = 64 << 10
UPLOAD_PATH = "/scan"

POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:"
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def secured(app: ASGIApp) -> ASGIApp:
    """The application with our headers on every answer, `no-store` on pages, and bodies bounded while they are read."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        most = MAX_UPLOAD_BYTES + _UPLOAD_ROOM if scope["path"] == UPLOAD_PATH else MAX_FORM_BYTES
        got = 0
        state = scope.setdefault("state", {})

        async def bounded() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > most:
                raise Problem(413, "That is too large.", f"At most {most >> 10:,} KiB can be sent to this page.")
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
                for cookie in state.get("cookies", {}).values():
                    headers.append("set-cookie", cookie)
            await send(message)

        await app(scope, bounded, with_headers)

    return run


def visitor(request: Request) -> str:
    """The visitor's secret: that of the cookie, else a new one, which the answer sets."""
    known = getattr(request.state, "visitor", None) or request.cookies.get(VISITOR, "")
    if len(known) != 43:
        known = secrets.token_urlsafe(32)
        set_cookie(request, VISITOR, known)
    request.state.visitor = known
    return str(known)


def renew_visitor(request: Request) -> None:
    """A new secret, after a login or logout: forms opened before are void."""
    request.state.visitor = secrets.token_urlsafe(32)
    set_cookie(request, VISITOR, request.state.visitor)


def form_token(request: Request) -> str:
    """The hidden field `token` of every form."""
    return hmac.new(visitor(request).encode(), b"form", hashlib.sha256).hexdigest()


def set_cookie(request: Request, name: str, value: str, *, until: datetime | None = None) -> None:
    """Let the answer set a cookie: closed to scripts, only encrypted (or on loopback), not sent with other sites' forms."""
    cookie = Response()
    cookie.set_cookie(name, value, expires=until, path="/", secure=True, httponly=True, samesite="lax")
    if not hasattr(request.state, "cookies"):
        request.state.cookies = {}
    request.state.cookies[name] = cookie.headers["set-cookie"]


def drop_cookie(request: Request, name: str) -> None:
    """Let the answer remove a cookie."""
    set_cookie(request, name, "", until=datetime.fromtimestamp(0, UTC))


async def form(request: Request) -> FormData:
    """The form that was sent; 403 unless one of our pages sent it."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Problem(403, "This form was sent by another site.", "Open the page here and send it again.")
    fields = await request.form(max_files=1, max_fields=40)
    token = fields.get("token", "")
    known = isinstance(token, str) and VISITOR in request.cookies
    if not known or not hmac.compare_digest(str(token).encode(), form_token(request).encode()):
        await fields.close()
        raise Problem(403, *_STALE)
    return fields


_STALE = (
    "This form is no longer valid.",
    "It was opened in another session, or cookies are off. Go back, reload the page and send it again.",
)


def text(fields: FormData, name: str, most: int = 320) -> str:
    """A text field, trimmed; empty where it is missing. 400 if it is longer than `most` characters."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise Problem(400, "That form does not fit.", f"The field {name} must be text.")
    value = value.strip()
    if len(value) > most:
        raise Problem(400, "That is too long.", f"The field {name} takes {most} characters.")
    return value
