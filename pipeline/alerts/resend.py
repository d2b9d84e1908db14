"""E-mails by Resend's API (resend.com/docs/api-reference/emails/send-email): a POST each, with an Idempotency-Key.

The key is the mail's Message-ID: for 24 hours a repetition after a death is answered as the first was, and mails nobody twice.
"""

from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import urlsplit

import httpx

from pipeline.alerts.transport import LOOPBACK, SERVER_SECONDS, MailDeferred, MailRefused, said
from schemas.errors import SettingsError
from schemas.settings import Settings

_OURS = {401, 403, 408, 409, 425, 429}
"""Statuses that say nothing of the mail: a key or domain that is wrong here, a request at the same time, too many of them."""


@dataclass
class Api:
    """Resend's API of the settings."""

    settings: Settings
    _open: httpx.Client | None = field(default=None, repr=False)

    def send(self, mail: EmailMessage) -> None:
        """Hand over a mail. `MailRefused`, `MailDeferred`."""
        if self._open is None:
            self._open = httpx.Client(
                base_url=self.settings.resend_api_base,
                headers={"Authorization": f"Bearer {self.settings.resend_api_key.get_secret_value()}"},
                timeout=SERVER_SECONDS,
                trust_env=False,
            )
        key = str(mail["Message-ID"]).strip("<>")
        try:
            answer = self._open.post("/emails", json=_body(mail), headers={"Idempotency-Key": key})
        except httpx.HTTPError as error:
            self.close()
            raise MailDeferred(said(error)) from error
        if answer.is_success:
            return
        told = f"{answer.status_code} {' '.join(answer.text.split())[:200]}"
        if answer.status_code in _OURS or answer.is_server_error:
            raise MailDeferred(told)
        raise MailRefused(told)

    def close(self) -> None:
        """End the connection; the next mail makes another."""
        if self._open is not None:
            self._open.close()
            self._open = None


def api(settings: Settings) -> Api:
    """The API of RESEND_API_KEY; `SettingsError` where the key would go out in the open."""
    base = urlsplit(settings.resend_api_base)
    if base.scheme != "https" and not (base.scheme == "http" and base.hostname in LOOPBACK):
        raise SettingsError("RESEND_API_BASE must begin with https://, or be on loopback")
    return Api(settings)


def _body(mail: EmailMessage) -> dict[str, object]:
    parts = {kind: mail.get_body((kind,)) for kind in ("plain", "html")}
    texts = {
        name: str(part.get_content())
        for name, part in (("text", parts["plain"]), ("html", parts["html"]))
        if part is not None
    }
    kept = {name: str(mail[name]) for name in ("Message-ID", "Auto-Submitted")}
    return {
        "from": str(mail["From"]),
        "to": [str(mail["To"])],
        "subject": str(mail["Subject"]),
        "headers": kept,
        **texts,
    }
