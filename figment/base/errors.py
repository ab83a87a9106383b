"""The errors that figment raises on purpose, and how the command line reports them."""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Callable


class FigmentError(Exception):
    """A user's mistake or a damaged input. The message is one line with the flag or file, the value and the rule.

    The command line prints the message without a traceback and exits with code 2.
    """


class UnreadableImage(FigmentError):
    """An image that can't be used. `reason` is a short slug for the catalog; the message is for people.

    Reasons: `not-an-image`, `truncated`, `too-large`, `unreadable`, `empty-file`, `too-small`.
    """

    def __init__(
        self,
        reason: str,
        message: str,
    ) -> None:
        super().__init__(message)
        self.reason = reason


def run_with_exit_codes(command: Callable[[], object]) -> None:
    """Run `command` and turn expected errors into one line on stderr and an exit code.

    2 for a FigmentError, a full disk and files without access; 130 for Ctrl-C. Other exceptions pass through.
    """
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
    except MemoryError:
        sys.exit(_fail("out of memory: ask for fewer or smaller pictures, or close other programs"))
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        sys.exit(_fail("out of memory: ask for fewer or smaller pictures, or close other programs"))
    except KeyboardInterrupt:
        sys.exit(130)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether PyTorch, if it is loaded, ran out of memory."""
    if "torch" not in sys.modules:
        return False
    from figment.base.device import is_out_of_memory

    return is_out_of_memory(error)


def _fail(message: str) -> int:
    print(f"figment: {message}", file=sys.stderr)
    return 2
