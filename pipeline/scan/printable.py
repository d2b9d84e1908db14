"""Text of events for people: one line, nothing in it that could steer a terminal or a page."""


def short(text: str, most: int = 160) -> str:
    """One printable line of a text of at most `most` characters; control characters become dots."""
    line = "".join(c if c.isprintable() else "·" for c in text)
    return line if len(line) <= most else line[: most - 1] + "…"
