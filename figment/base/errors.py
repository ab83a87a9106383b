"""The errors that figment raises on purpose, and how the command line reports them."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import sys
from collections.abc import Callable


class FigmentError(Exception):
    """A user's mistake or a damaged input. The message is one line with the flag or file, the value and the rule.

    The command line prints the message without a traceback and exits with code 2.
    """


class UnreadableImage(FigmentError):
    """An image that can't be used. `reason` is a short slug for the catalog; the message is for people.

    Reasons: `not-an-image`, `truncated`, `too-large`, `unreadable`, `empty-file`, `too-small`, `upscale`, and the kinds
    of pictures in `formats.ADVICE`, such as `heic`.
    """

    def __init__(
        self,
        reason: str,
        message: str,
    ) -> None:
        super().__init__(printable(message))
        self.reason = reason


_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    """Return `text` as one line that every file and terminal takes: line breaks and bytes of odd names are escaped."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


REFUSALS = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
        *(errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO),
    }
)
"""What the system says of a path that can't be read or written, however much room there is."""


LONGEST_WORD = 400
"""Letters from which a word of a message, such as a number or a path, is cut."""


def run_with_exit_codes(command: Callable[[], object]) -> None:
    """Run `command` and turn expected errors into one line on stderr and an exit code.

    2 for a FigmentError, a full disk and files that can't be read or written; 130 for Ctrl-C. Other exceptions pass
    through.
    """
    try:
        command()
    except FigmentError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(_fail(f"{error.filename or 'output'}: the disk is full; what was finished is intact"))
        if error.errno in (*REFUSALS, errno.EIO) and error.filename is not None:
            sys.exit(_fail(f"{printable(os.fsdecode(error.filename))}: {error.strerror}"))
        raise
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            sys.exit(_fail("catalog.db: the disk is full; what was finished is intact"))
        if not any(words in str(error) for words in ("unable to open", "readonly", "disk I/O", "locked")):
            raise
        sys.exit(_fail(f"catalog.db: can't be read or written ({error})"))
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
    """Print `message` as one line, in which a word of hundreds of letters is cut; return the exit code."""
    text = re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: f"{word[0][:60]}...{word[0][-60:]}", printable(message))
    print(f"figment: {text}", file=sys.stderr)
    return 2
