"""How an e-mail leaves: by SMTP or by Resend's API, whichever the settings name."""

from email.message import EmailMessage
from typing import Protocol

from schemas.errors import SettingsError
from schemas.settings import Settings

SERVER_SECONDS = 30.0
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class MailRefused(Exception):
    """The server answers, and does not take this mail; the text says what it said, in one line."""


class MailDeferred(Exception):
    """The server does not answer, or takes no mail now."""


class Transport(Protocol):
    """Something that takes e-mails. Not for several threads at once."""

    def send(self, mail: EmailMessage) -> None:
        """Hand over a mail. `MailRefused`, `MailDeferred`."""

    def close(self) -> None:
        """End the connection; the next mail makes another."""


def transport(settings: Settings) -> Transport:
    """The transport of the settings: SMTP_HOST's, else Resend's. `SettingsError` where mails or a secret would go out in the open."""
    from pipeline.alerts import resend, smtp

    if settings.smtp_host:
        return smtp.server(settings)
    if settings.resend_api_key.get_secret_value():
        return resend.api(settings)
    raise SettingsError("neither SMTP_HOST nor RESEND_API_KEY is set: what takes our e-mails")


def said(error: Exception) -> str:
    """An error's text as one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
