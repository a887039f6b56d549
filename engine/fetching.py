"""Fetches public weights once, on request, and checks them.

They lie in the folders that other users of the two download libraries share.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinemacolor.engine.hub import FetchError, Source, remember, remembered

NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
TIMEOUT_SECONDS = 30
CHUNK = 1 << 16  # what is lost, at most, where a download breaks off

Report = Callable[[int, int], None]  # bytes there, bytes in all (0: not told)


@dataclass(frozen=True)
class Fetched:
    """Weights on this machine."""

    path: Path
    sha256: str
    trust: str  # in words: why the bytes are taken for those of the authors


def fetch(source: Source, *, offline: bool = False, report: Report | None = None) -> Fetched:
    """Returns the weights, fetched where they are not in the libraries' folders yet.

    Raises FetchError in one line; what was there before stays as it was.
    """
    with _in_one_line(source):
        if source.on_hub:
            path, published = _from_hub(source, offline=offline)
        else:
            path, published = _from_address(source, offline=offline, report=report), source.sha256
    digest = sha256(path)
    pinned = remembered("pins").get(source.address, "")
    wanted, by = (published, "published") if published else (pinned, "pinned here before")
    if not digest.startswith(wanted):
        path.resolve().unlink()
        path.unlink(missing_ok=True)  # the Hub's folders have links
        raise FetchError(
            f"{source.name}: what {_host(source)} sent has SHA-256 {digest[:8]}..., and the one "
            f"{by} is {wanted[:8]}...: it was deleted; get it again, or from someone you trust"
        )
    if not wanted:
        remember("pins", {source.address: digest})
        return Fetched(path, digest, f"no checksum is published; {digest[:8]}... is pinned now")
    return Fetched(path, digest, f"its SHA-256 is the one {by}, {wanted[:8]}...")


def _host(source: Source) -> str:
    return "the Hub" if source.on_hub else source.address.split("/")[2]


def _from_hub(source: Source, *, offline: bool) -> tuple[Path, str]:
    """Returns the file and its published SHA-256, which the Hub's folder names its blobs by."""
    from huggingface_hub import hf_hub_download

    path = Path(
        hf_hub_download(
            source.address,
            source.file,
            local_files_only=offline,
            endpoint=os.environ.get("HF_ENDPOINT"),
            cache_dir=os.environ.get("HF_HUB_CACHE"),
        )
    )
    blob = path.resolve().name
    return path, blob if re.fullmatch(r"[0-9a-f]{64}", blob) else ""


def _from_address(source: Source, *, offline: bool, report: Report | None) -> Path:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    cache = Path(pooch.os_cache("kinemacolor-weights"))
    if (cache / source.file).is_file():
        return cache / source.file
    if offline:
        raise FetchError("it is not on this machine, and --offline fetches nothing")
    return Path(
        pooch.retrieve(
            source.address,
            known_hash=None,  # only its first digits are known
            fname=source.file,
            path=cache,
            downloader=_Resuming(cache / f"{source.file}.part", report or (lambda done, all: None)),
        )
    )


class _Resuming:
    """A downloader for `pooch` that goes on where an earlier one broke off."""

    def __init__(self, part: Path, report: Report) -> None:
        self.part, self.report = part, report

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests

        there = self.part.stat().st_size if self.part.is_file() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if answer.status_code == 416:  # there is no more than what is there, or it changed
                self.part.unlink()
                raise FetchError("the file there has changed: the same command begins anew")
            answer.raise_for_status()
            there = there if answer.status_code == 206 else 0
            total = there + int(answer.headers.get("Content-Length", 0))
            with self.part.open("ab" if there else "wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    there += len(chunk)
                    self.report(there, total)
        if total and there < total:
            raise FetchError(f"it broke off after {there / 1e6:.0f} MB of {total / 1e6:.0f}")
        os.replace(self.part, output_file)


@contextmanager
def _in_one_line(source: Source) -> Iterator[None]:
    """Says in one line what the download libraries say in many."""
    again = f"kinemacolor models get {source.name}"
    try:
        yield
    except ModuleNotFoundError as error:
        raise FetchError(
            f"fetching needs {error.name}: pip install 'kinemacolor[hub,train]'"
        ) from error
    except FetchError as error:
        raise FetchError(f"{source.name}: {error}") from error
    except Exception as error:  # each library, and each below it, has classes of its own
        chain = list(_causes(error))
        if any(getattr(e, "errno", None) in NO_ROOM for e in chain):
            _drop_parts(source)
            reason = f"there is no room for its {source.megabytes} MB: make some, then {again}"
        elif (status := _status(chain)) is not None:
            gone = "is not there any more" if status in (401, 404, 410) else "does not answer"
            reason = f"{source.address} {gone} (HTTP {status})"
        elif any("local_files_only" in str(e) for e in chain):
            reason = "it is not on this machine, and --offline fetches nothing"
        elif any("Consistency check" in str(e) or "IncompleteRead" in str(e) for e in chain):
            reason = f"it broke off: {again} tries once more"
        elif _is_network(chain):
            reason = f"{_host(source)} cannot be reached, or went away: once it is there, {again}"
        elif isinstance(error, OSError):
            raise
        else:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            reason = lines[0][:200]
        raise FetchError(f"{source.name}: {reason}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(chain: list[BaseException]) -> int | None:
    for error in chain:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _is_network(chain: list[BaseException]) -> bool:
    libraries = ("requests", "urllib3", "httpx", "httpcore", "huggingface_hub", "http")
    return any(
        isinstance(e, ConnectionError | TimeoutError)
        or type(e).__module__.split(".")[0].rstrip("2") in libraries
        for e in chain
    )


def _drop_parts(source: Source) -> None:
    """Gives back the room that a download took which cannot end."""
    if not source.on_hub:
        import pooch

        (Path(pooch.os_cache("kinemacolor-weights")) / f"{source.file}.part").unlink(True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
