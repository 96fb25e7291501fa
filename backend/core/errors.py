"""Errors that are the user's to mend. Everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """Something the user can put right: the message says what is wrong and where, ``remedy`` what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InputError(UserError):
    """A file or value that a user gave is malformed."""


class MissingArtifact(UserError):
    """A stage needs the result of an earlier stage which is not there (or not finished)."""


class CorruptArtifact(UserError):
    """Stored bytes do not have the hash that their manifest states."""


class IncompatibleStores(UserError):
    """Two gradient stores were made with different projections and cannot be compared."""
