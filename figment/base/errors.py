"""The errors that figment raises on purpose."""


class FigmentError(Exception):
    """A user's mistake or a damaged input, told in one line: the flag or file, the value, the rule.

    The command line prints the message and exits with code 2; it is never a traceback.
    """


class UnreadableImage(FigmentError):
    """A picture that can't be used. `reason` is a short slug for the catalog, the message is for people.

    Reasons: `not-an-image`, `truncated`, `too-large`, `unreadable`, `empty-file`, `too-small`.
    """

    def __init__(
        self,
        reason: str,
        message: str,
    ) -> None:
        super().__init__(message)
        self.reason = reason
