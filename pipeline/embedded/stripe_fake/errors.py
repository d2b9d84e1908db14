"""What Stripe answers when it refuses: status, type, code and message as its API documents them (docs.stripe.com/api/errors)."""

from dataclasses import dataclass
from typing import Any


@dataclass
class ApiError(Exception):
    """A refusal. `applied` says whether an idempotent result is saved: only once an endpoint began to execute."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    kind: str = "invalid_request_error"
    executed: bool = False

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        said: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.code:
            said["code"] = self.code
        if self.param:
            said["param"] = self.param
        return {"error": said}


def unknown_parameter(path: str) -> ApiError:
    """A parameter that the endpoint does not have."""
    return ApiError(400, f"Received unknown parameter: {path}", "parameter_unknown", path)


def missing_parameter(path: str) -> ApiError:
    """A required parameter that was not given."""
    return ApiError(400, f"Missing required param: {path}.", "parameter_missing", path)


def invalid(path: str, message: str, code: str | None = None) -> ApiError:
    """A parameter whose value does not fit."""
    return ApiError(400, message, code, path)


def no_such(kind: str, object_id: str, param: str = "id", status: int = 404) -> ApiError:
    """An object that is not there."""
    return ApiError(status, f"No such {kind}: '{object_id}'", "resource_missing", param)


def not_modelled(what: str) -> ApiError:
    """Stripe may well do this; the fake does not, and says so instead of guessing."""
    return ApiError(400, f"The fake does not model {what}.", "fake_not_modelled")
