"""One process writes a run folder; its lock is the kernel's, which no dead process holds."""

import errno
import os
import stat
import time
from pathlib import Path

from dljax.errors import DataError
from dljax.store.files import NO_LINK, canonical, parsed

NAME = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class Lock:
    """Holds a folder for this process until `release`, or until the process ends however it does.

    Raises:
      ValueError: If another process holds the folder, with its number and since when.
    """

    def __init__(self, folder: Path):
        import fcntl  # not there on Windows

        self._path = folder / NAME
        while True:
            self._file = self._opened()
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self._holder()
                os.close(self._file)
                raise ValueError(f"{folder} is in use by {holder}.") from None
            except OSError as error:
                os.close(self._file)
                if error.errno in NO_LOCKS:
                    raise ValueError(
                        f"{folder} must lie on a file system with locks, got {error.strerror}."
                    ) from None
                raise
            if self._is_ours():
                break
            os.close(self._file)  # its holder removed it between our two steps
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, canonical({"process": os.getpid(), "since": since}), 0)

    def release(self) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
            if stat.S_ISREG(os.fstat(file).st_mode):
                return file
            os.close(file)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise
        raise DataError(f"{self._path} must be a regular file, got another kind.")

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _holder(self) -> str:
        try:
            told = parsed(os.pread(self._file, 1000, 0))
            return f"process {int(told['process'])} since {str(told['since'])[:40]}"
        except (ValueError, KeyError, TypeError):  # it has not yet written who it is
            return "another process"
