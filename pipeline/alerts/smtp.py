"""E-mails by SMTP: one connection, made when it is needed."""

import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage

from pipeline.alerts.transport import LOOPBACK, SERVER_SECONDS, MailDeferred, MailRefused, said
from schemas.errors import SettingsError
from schemas.settings import Settings

_REFUSED = (
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPSenderRefused,
    smtplib.SMTPDataError,
    smtplib.SMTPNotSupportedError,
)


@dataclass
class Server:
    """The SMTP server of the settings."""

    settings: Settings
    _open: smtplib.SMTP | None = field(default=None, repr=False)

    def send(self, mail: EmailMessage) -> None:
        """Hand over a mail. `MailRefused`, `MailDeferred`."""
        try:
            if self._open is None:
                self._open = _connect(self.settings)
            self._open.send_message(mail)
        except _REFUSED as error:
            self.close()  # the next mail begins in a fresh session
            raise MailRefused(said(error)) from error
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            raise MailDeferred(said(error)) from error

    def close(self) -> None:
        """End the connection; the next mail makes another."""
        if self._open is not None:
            with suppress(smtplib.SMTPException, OSError):
                self._open.quit()
            self._open = None


def server(settings: Settings) -> Server:
    """The server of SMTP_HOST. `SettingsError` where mails or a password would go out in the open."""
    if settings.smtp_security == "none" and settings.smtp_host not in LOOPBACK:
        raise SettingsError("SMTP_SECURITY=none is for a server on loopback only: use starttls or tls")
    return Server(settings)


def _connect(settings: Settings) -> smtplib.SMTP:
    address = (settings.smtp_host, settings.smtp_port)
    if settings.smtp_security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            *address, timeout=SERVER_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = smtplib.SMTP(*address, timeout=SERVER_SECONDS)
        if settings.smtp_security == "starttls":
            connection.starttls(context=ssl.create_default_context())
    password = settings.smtp_password.get_secret_value()
    if settings.smtp_username:
        connection.login(settings.smtp_username, password)
    return connection
