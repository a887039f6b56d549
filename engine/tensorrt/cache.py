"""Where compiled plans are kept, and how a plan is known to be the right one.

A plan is executable code, tied to the model, to TensorRT's exact version and to the GPU. Beside
each lies a JSON file that says in words what it was made from; a plan whose words do not match,
or whose bytes are not those that were written, is never loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from kinemacolor.engine.outputs import replacing

log = logging.getLogger(__name__)

_WHAT = "Describes the TensorRT plan beside it. Both may be deleted: they are built again."
_LOCK_RETRY_SECONDS = 0.1


@dataclass(frozen=True)
class PlanKey:
    """Everything a plan depends on. Messages and sidecars call it by the fields' names."""

    model: str
    model_sha256: str
    conversion: str  # version of the code that makes the FP16 or INT8 graph
    precision: str
    module: str
    module_version: str
    gpu: str  # "portable", or the GPU that it was tuned for
    compute_capability: str  # "9.0", or "8.0 and later"
    profile: str
    flags: str

    @property
    def file_name(self) -> str:
        """The file name, the same for every version of model and module: a new plan replaces it."""
        capability = f"cc{self.compute_capability}"
        parts = (self.model, self.module, capability, self.precision)
        profile = hashlib.sha256(self.profile.encode()).hexdigest()[:6]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join([*parts, profile])) + ".plan"

    def changes_from(self, other: Mapping[str, Any]) -> list[str]:
        """Returns what differs from another key, in words."""
        changed = {name: is_ for name, is_ in asdict(self).items() if other.get(name) != is_}
        return [
            "the model file changed"
            if name == "model_sha256"
            else f"{name.replace('_', ' ')} was {other.get(name)}, is {value}"
            for name, value in changed.items()
        ]


@dataclass(frozen=True)
class Found:
    """What the cache holds for a key: a plan, or the reason why there is none."""

    plan: bytes | None
    reason: str


class PlanCache:
    """A folder of plans. Several processes may use it at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def path(self, key: PlanKey) -> Path:
        """Returns where the plan for a key is or would be."""
        return self.folder / key.file_name

    def find(self, key: PlanKey) -> Found:
        """Reads the plan for a key if it is whole, up to date and written by this user."""
        plan, sidecar = self.path(key), self._sidecar(key)
        if not plan.exists():
            return Found(None, "none has been built yet")
        for file in (self.folder, plan, sidecar):
            if file.exists() and not _is_private(file):
                return Found(None, f"others can write to {file}, so it is not trusted")
        try:
            words = json.loads(sidecar.read_text())
            made_from, size, digest = words["made from"], words["bytes"], words["sha256"]
        except FileNotFoundError:
            return Found(None, f"{sidecar.name} is missing, so nobody knows what the plan is of")
        except (OSError, ValueError, KeyError, TypeError):
            return Found(None, f"{sidecar.name} is unreadable")
        changes = key.changes_from(made_from)
        if changes:
            return Found(None, "; ".join(changes))
        blob = plan.read_bytes()
        if len(blob) != size:
            return Found(None, f"the plan has {len(blob)} bytes of {size}")
        if hashlib.sha256(blob).hexdigest() != digest:
            return Found(None, "the plan's bytes are not those that were written")
        return Found(blob, f"built {words.get('built', 'earlier')}")

    def store(self, key: PlanKey, plan: bytes, **notes: object) -> Path:
        """Writes a plan and its sidecar, each whole or not at all. Notes go into the sidecar."""
        words = {
            "what": _WHAT,
            "made from": asdict(key),
            "bytes": len(plan),
            "sha256": hashlib.sha256(plan).hexdigest(),
            "built": time.strftime("%Y-%m-%d %H:%M:%S"),
            **notes,
        }
        self._write(self.path(key), plan)
        self._write(self._sidecar(key), (json.dumps(words, indent=2) + "\n").encode())
        return self.path(key)

    def discard(self, key: PlanKey) -> None:
        """Forgets a plan that does not load after all."""
        self._sidecar(key).unlink(missing_ok=True)
        self.path(key).unlink(missing_ok=True)

    def timings(self, key: PlanKey) -> bytes | None:
        """Returns what builds by this module on this GPU have measured so far."""
        path = self._timings(key)
        return path.read_bytes() if path.exists() and _is_private(path) else None

    def store_timings(self, key: PlanKey, timings: bytes) -> None:
        self._write(self._timings(key), timings)

    def jit(self, key: PlanKey, gpu: str) -> bytes | None:
        """Returns the kernels that TensorRT for RTX finished for a plan on a GPU of this name."""
        path = self._jit(key, gpu)
        return path.read_bytes() if path.exists() and _is_private(path) else None

    def store_jit(self, key: PlanKey, gpu: str, kernels: bytes) -> None:
        self._write(self._jit(key, gpu), kernels)

    @contextmanager
    def lock(self, key: PlanKey, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Holds off every other process that wants the same plan. The lock ends with the process.

        Args:
            on_wait: called over and over while another process holds it; may raise.
        """
        self._make_folder()
        lock = FileLock(self.folder / f"{key.file_name}.lock", timeout=0, mode=0o600)
        said = False
        while not lock.is_locked:
            try:
                lock.acquire()
            except Timeout:
                if not said:
                    log.info("another process is building this engine: waiting for it")
                    said = True
                if on_wait is not None:
                    on_wait()
                time.sleep(_LOCK_RETRY_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def _sidecar(self, key: PlanKey) -> Path:
        return self.path(key).with_suffix(".json")

    def _timings(self, key: PlanKey) -> Path:
        name = f"{key.module}-{key.module_version}-{key.gpu}"
        return self.folder / (re.sub(r"[^A-Za-z0-9.]+", "-", name) + ".timings")

    def _jit(self, key: PlanKey, gpu: str) -> Path:
        return self.path(key).with_suffix("." + re.sub(r"[^A-Za-z0-9]+", "-", gpu) + ".jit")

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _write(self, path: Path, data: bytes) -> None:
        self._make_folder()
        with replacing(path, mode=0o600) as partial:
            partial.write_bytes(data)


def default_folder() -> Path:
    """Returns the user's cache folder for plans."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kinemacolor" / "plans"


def file_sha256(path: Path) -> str:
    """Returns the hash of a file's bytes, by which a model is known."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_private(path: Path) -> bool:
    """Whether nobody but this user (or root) can have written it."""
    if sys.platform == "win32":
        return True  # the user's profile folder is private there
    status = path.stat()
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022
