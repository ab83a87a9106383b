"""The errors that figment raises on purpose, and how the command line reports them."""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Callable


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


def run_told(command: Callable[[], object]) -> None:
    """Run `command`; a mistake of the user's is one line on stderr and exit code 2, Ctrl-C is 130."""
    try:
        command()
    except FigmentError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(_fail(f"{error.filename or 'output'}: the disk is full; what was finished is intact"))
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            sys.exit(_fail(f"{error.filename}: {error.strerror}"))
        raise
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise
        sys.exit(_fail("catalog.db: the disk is full; what was finished is intact"))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> int:
    print(f"figment: {message}", file=sys.stderr)
    return 2
