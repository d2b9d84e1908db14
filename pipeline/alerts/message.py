"""An e-mail of some words: text and HTML, with a Message-ID that says which row of the outbox it is."""

import html
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from functools import cache
from importlib.resources import files
from string import Template
from uuid import UUID

from pipeline.alerts.wording import Words
from schemas.errors import SettingsError


@cache
def _layout(name: str) -> Template:
    return Template(files("pipeline.alerts").joinpath(name).read_text("utf-8"))


def sender_of(mail_from: str) -> Address:
    """The address of MAIL_FROM; `SettingsError` if it is none."""
    name, address = parseaddr(mail_from)
    try:
        return Address(name, addr_spec=address)
    except (ValueError, IndexError) as error:  # headerregistry raises either for what is no address
        raise SettingsError(f"MAIL_FROM must be an address, or Name <address>, not {mail_from!r}") from error


def message(
    words: Words, *, outbox_id: UUID, organization: str, to: str, sender: Address, at: datetime, console_url: str
) -> EmailMessage:
    """The e-mail; `at` is its date. The same row gives the same Message-ID, so that a receiver can drop a repeat."""
    made = EmailMessage()
    made["From"] = sender
    made["To"] = Address(addr_spec=to)
    made["Subject"] = words.subject
    made["Date"] = format_datetime(at)
    made["Message-ID"] = f"<{outbox_id}@{sender.domain or 'localhost'}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(_text(words, organization, console_url))
    made.add_alternative(_html(words, organization, console_url), subtype="html")
    return made


def _url(words: Words, console_url: str) -> str:
    """The link's address: a page of the console, or of another site by https; nothing where there is none to trust."""
    target = words.link[1]
    if target.startswith("/"):
        return console_url.rstrip("/") + target if console_url else ""
    return target if target.startswith("https://") else ""


def _text(words: Words, organization: str, console_url: str) -> str:
    url = _url(words, console_url)
    return _layout("layout.txt").substitute(
        headline=words.subject,
        paragraphs="\n\n".join(words.paragraphs),
        facts="".join(f"{name}: {value}\n" for name, value in words.facts),
        link=f"{words.link[0]}: {url}\n" if url else "",
        organization=" ".join(organization.split()) or "that is not there yet",
    )


def _html(words: Words, organization: str, console_url: str) -> str:
    url = _url(words, console_url)
    cell = '<td style="padding:.2rem 1rem .2rem 0{}">{}</td>'
    return _layout("layout.html").substitute(
        headline=html.escape(words.subject),
        paragraphs="\n".join(f"<p>{html.escape(text)}</p>" for text in words.paragraphs),
        facts="".join(
            f"<tr>{cell.format(';color:#57606a', html.escape(name))}{cell.format('', html.escape(value))}</tr>"
            for name, value in words.facts
        ),
        link=f'<p><a href="{html.escape(url)}">{html.escape(words.link[0])}</a></p>' if url else "",
        organization=html.escape(organization) or "that is not there yet",
    )
