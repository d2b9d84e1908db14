"""What went wrong, for a person: what, and what to do about it."""


class Problem(Exception):
    """An answer that is a page of error: its status, what happened, and what to do. Both are plain sentences."""

    def __init__(self, status: int, what: str, advice: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.advice = advice
        self.retry_after = retry_after
