"""What accounts refuse, each with the HTTP status it becomes."""

from schemas.errors import DriftlockError


class Refused(DriftlockError):
    """What was asked for is refused."""

    status = 400


class BadCredentials(Refused):
    """E-mail or password is wrong."""

    status = 401


class BadToken(Refused):
    """The token is wrong, used or expired."""

    status = 401


class TooManyAttempts(Refused):
    """Too many attempts: try again later."""

    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many attempts: try again in {retry_after} seconds")
        self.retry_after = retry_after


class Forbidden(Refused):
    """The role or key does not allow this."""

    status = 403


class NotFound(Refused):
    """There is no such thing in this organization."""

    status = 404


class Conflict(Refused):
    """It was changed since it was read: read it again."""

    status = 409


class PreconditionFailed(Refused):
    """If-Match does not name the present version: read it again."""

    status = 412


class Invalid(Refused):
    """A value does not fit."""

    status = 422
