"""Sign-up, verification, login, logout, reset of a password, invitations."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from dashboards.console import parts, security, session
from dashboards.console.pages import page
from dashboards.console.security import text
from pipeline.accounts import invitations, passwords, sessions, sign_up
from pipeline.accounts.errors import Refused

routes = APIRouter()
Form = Annotated[FormData, Depends(security.form)]
NOTES = {
    "verified": "Your account is ready. Log in to get your first key.",
    "reset": "Your password is changed, and all sessions are ended. Log in with the new one.",
    "joined": "You are a member now. Log in.",
}


def again(request: Request, template: str, refused: Refused, **context: object) -> HTMLResponse:
    """The same form with what was wrong."""
    response = page(request, template, status=refused.status, wrong=str(refused), **context)
    if (seconds := getattr(refused, "retry_after", None)) is not None:
        response.headers["retry-after"] = str(seconds)
    return response


@routes.get("/signup")
def signup(request: Request) -> HTMLResponse:
    """The form."""
    return page(request, "signup.html", wrong="", email="", name="", organization="")


@routes.post("/signup")
def signing_up(request: Request, fields: Form) -> Response:
    """Mail the link; the answer is the same for an e-mail that has an account."""
    ours = parts.of(request)
    said = {name: text(fields, name) for name in ("email", "name", "organization")}
    try:
        with ours.pools.accounts.connection() as connection:
            sign_up.sign_up(connection, password=_password(fields), now=ours.clock(), **said)
    except Refused as refused:
        return again(request, "signup.html", refused, **said)
    return page(request, "sent.html", email=said["email"], what="finish your sign-up")


@routes.get("/verify")
def verify(request: Request, token: str = "") -> HTMLResponse:
    """A button: what only looks at links in e-mails must not use them up."""
    return page(request, "verify.html", wrong="", secret=token)


@routes.post("/verify")
def verifying(request: Request, fields: Form) -> Response:
    """Make the account and its organization, and tell workers of it."""
    ours = parts.of(request)
    secret = text(fields, "secret", 1024)
    try:
        with ours.pools.accounts.connection() as connection:
            made = sign_up.verify_email(connection, secret, ours.clock())
    except Refused as refused:
        return again(request, "verify.html", refused, secret=secret)
    ours.announce(made.organization_id)
    return RedirectResponse("/login?note=verified&next=/start", 303)


@routes.get("/login")
def login(request: Request, note: str = "", next: str = "") -> Response:  # noqa: A002 the name in the address
    """The form; who is logged in goes on."""
    if request.app.state.parts is not None and session.look(request) is not None:
        return RedirectResponse(_ours(next), 303)
    return page(request, "login.html", wrong="", email="", note=NOTES.get(note, ""), after=_ours(next))


@routes.post("/login")
def logging_in(request: Request, fields: Form) -> Response:
    """A new session."""
    ours = parts.of(request)
    email, after = text(fields, "email"), _ours(text(fields, "next", 2048))
    try:
        with ours.pools.accounts.connection() as connection:
            tokens = sessions.log_in(
                connection,
                ours.key,
                email=email,
                password=_password(fields),
                address=request.client.host if request.client else "",
                user_agent=request.headers.get("user-agent", "")[:200],
                now=ours.clock(),
            )
    except Refused as refused:
        return again(request, "login.html", refused, email=email, note="", after=after)
    session.remember(request, tokens)
    security.renew_visitor(request)
    return RedirectResponse(after, 303)


@routes.post("/logout")
def logout(request: Request, fields: Form) -> Response:
    """End this session, or all of them."""
    ours, who = parts.of(request), session.look(request)
    if who is not None:
        with ours.pools.accounts.connection() as connection:
            if text(fields, "everywhere") and who.principal.user_id is not None:
                sessions.log_out_everywhere(connection, who.principal.user_id, ours.clock())
            elif who.principal.session_id is not None:
                sessions.log_out(connection, who.principal.session_id, ours.clock())
    session.forget(request)
    return RedirectResponse("/login", 303)


@routes.get("/reset")
def reset(request: Request, token: str = "") -> HTMLResponse:
    """Ask for the link, or with one for the new password."""
    return page(request, "reset.html", wrong="", secret=token, email="")


@routes.post("/reset")
def resetting(request: Request, fields: Form) -> Response:
    """Mail the link, or set the new password."""
    ours = parts.of(request)
    secret, email = text(fields, "secret", 1024), text(fields, "email")
    try:
        with ours.pools.accounts.connection() as connection:
            if secret:
                passwords.reset(connection, secret, _password(fields), ours.clock())
            else:
                passwords.request_reset(connection, email, ours.clock())
    except Refused as refused:
        return again(request, "reset.html", refused, secret=secret, email=email)
    if secret:
        return RedirectResponse("/login?note=reset", 303)
    return page(request, "sent.html", email=email, what="set a new password")


@routes.get("/invitation")
def invitation(request: Request, token: str = "") -> HTMLResponse:
    """What an invitation says."""
    ours = parts.of(request)
    with ours.pools.accounts.connection() as connection:
        invited = invitations.look(connection, token, ours.clock())
    return page(request, "invitation.html", wrong="", secret=token, invited=invited, name="")


@routes.post("/invitation")
def joining(request: Request, fields: Form) -> Response:
    """Become a member."""
    ours = parts.of(request)
    secret, name = text(fields, "secret", 1024), text(fields, "name")
    with ours.pools.accounts.connection() as connection:
        invited = invitations.look(connection, secret, ours.clock())
        try:
            invitations.accept(connection, secret, name=name or None, password=_password(fields), now=ours.clock())
        except Refused as refused:
            return again(request, "invitation.html", refused, secret=secret, invited=invited, name=name)
    return RedirectResponse("/login?note=joined", 303)


def _password(fields: FormData) -> str:
    """A password as it was typed: never trimmed, never logged."""
    value = fields.get("password", "")
    return value if isinstance(value, str) else ""


def _ours(path: str) -> str:
    """Where to go on: a path of ours, never another site."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return quote(path, safe="/?=&%-_.~") if safe else "/anomalies"
