"""The error that refuses a whole export request, not single records of it."""


class RequestError(Exception):
    """The request is refused with the HTTP status ``status``; the message is the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
