"""Files of data sets: found in a folder or fetched, and verified before anybody reads them."""

import hashlib
import os
import textwrap
from pathlib import Path

import pooch

from dljax.datasets.table import DATASETS, Dataset
from dljax.errors import DataError


def default_folder() -> Path:
    """Returns the folder of `DLJAX_DATA`, or without it the user's cache folder."""
    folder = os.environ.get("DLJAX_DATA") or pooch.os_cache("dljax")
    return Path(os.path.expanduser(folder))


def read_files(name: str, dataset: Dataset, root: Path, download: bool) -> dict[str, bytes]:
    """Reads the files of a data set from `root / name`, or from `root` if they lie right there.

    Of the two folders it takes the one that holds more of the files, at a tie `root / name`.
    What is there is verified before anything is fetched, and nothing there is ever replaced.

    Args:
      name: Name of the data set.
      dataset: Its entry in the table, with at least one file.
      root: The data folder; it is made if files are fetched.
      download: Whether missing files are fetched from the network.

    Returns:
      The content of each file; its SHA-256 is the one of the table.

    Raises:
      DataError: If a file is missing, cannot be read or fetched, or has another SHA-256.
    """
    nested = root / name
    folder = max((nested, root), key=lambda place: len(dataset.files) - len(_lacks(dataset, place)))
    missing = _lacks(dataset, folder)
    if missing and not download:
        files = f"its {len(dataset.files)} files" if len(dataset.files) > 1 else "it"
        raise DataError(
            f"{name} needs {missing[0]}, which is not in {folder}; {files} "
            f"must lie in {nested} or in {root}: set DLJAX_DATA or --data-dir to the folder that "
            "holds them, or fetch them with --download."
        )
    contents = {}
    for file in sorted(dataset.files, key=missing.__contains__):  # those that are there first
        if file in missing:
            _fetch(dataset, file, folder)
        contents[file] = _read_verified(folder / file, dataset.files[file])
    return contents


def _lacks(dataset: Dataset, folder: Path) -> list[str]:
    """Lists the files of `dataset` that are not in `folder`, which need not exist."""
    return [file for file in dataset.files if not os.path.isfile(folder / file)]


def _fetch(dataset: Dataset, file: str, folder: Path) -> None:
    """Fetches `file` into `folder`, whole or not at all: it gets its name once it is verified."""
    sha256 = dataset.files[file]
    failed = f"{file} could not be fetched from {dataset.url}"
    whole = pooch.HTTPDownloader(stream=False)  # a stream that breaks would leave its socket open
    try:
        pooch.retrieve(dataset.url + file, f"sha256:{sha256}", file, folder, downloader=whole)
    except OSError as error:  # every failure of requests is an OSError too
        raise DataError(f"{failed}: {textwrap.shorten(str(error), 400)}") from None
    except ValueError:  # how pooch says that the digest is another one
        raise DataError(f"{failed}: what came is not the file of SHA-256 {sha256[:12]}.") from None


def _read_verified(path: Path, sha256: str) -> bytes:
    """Returns the content of the file at `path` if its digest is `sha256`, 64 hex digits."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror}.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        owner = next((name for name, d in DATASETS.items() if found in d.files.values()), None)
        hint = f"it is a file of {owner}" if owner else "remove it, then fetch it with --download"
        raise DataError(f"{path} must have SHA-256 {sha256[:12]}, got {found[:12]}; {hint}.")
    return content
