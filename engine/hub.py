"""Public networks by name: where their authors keep the weights, and what is here of them.

`engine/fetching.py` fetches; models made of the weights, and what is remembered, lie in a folder.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinemacolor.engine.errors import EngineError

FILE = "pytorch_model.bin"  # what DDColor's repositories on the Hub call their weights
ZHANG = "https://colorizers.s3.us-east-2.amazonaws.com"
DEEPAI = "https://data.deepai.org/deoldify"
DROPBOX = "https://www.dropbox.com/s"


class FetchError(EngineError, OSError):
    """Weights could not be fetched, or are not those that were published."""


@dataclass(frozen=True)
class Source:
    """Where public weights are.

    Attributes:
        address: a Hub repository (owner/name), or the URL of a file.
        parameters: millions.
        megabytes: of the download, about.
        sha256: its first digits, where its authors publish them.
    """

    name: str
    good_at: str
    parameters: float
    megabytes: int
    license: str
    address: str
    sha256: str = ""

    @property
    def on_hub(self) -> bool:
        return "://" not in self.address

    @property
    def place(self) -> str:
        """Where it comes from, in words."""
        return self.address if self.on_hub else self.address.split("/")[2]

    @property
    def file(self) -> str:
        """The name of the file as its authors have it."""
        return FILE if self.on_hub else self.address.rpartition("/")[2].partition("?")[0]


_APACHE, _MIT, _BSD = "Apache-2.0", "MIT", "BSD-2-Clause"
SOURCES = {
    source.name: source
    for source in (
        Source("ddcolor", "rich, the default of its authors", 227.9, 912, _APACHE,
               "piddnad/ddcolor_modelscope"),
        Source("ddcolor-tiny", "nearly as rich, four times as fast", 55.0, 220, _APACHE,
               "piddnad/ddcolor_paper_tiny"),
        Source("ddcolor-artistic", "more training pictures, fewer blots", 227.9, 912, _APACHE,
               "piddnad/ddcolor_artistic"),
        Source("ddcolor-paper", "as in the paper", 227.9, 912, _APACHE, "piddnad/ddcolor_paper"),
        Source("deoldify-artistic", "detail and vibrance of stills", 63.6, 255, _MIT,
               f"{DEEPAI}/ColorizeArtistic_gen.pth"),
        Source("deoldify-stable", "landscapes and portraits", 218.2, 874, _MIT,
               f"{DROPBOX}/axsd2g85uyixaho/ColorizeStable_gen.pth?dl=1"),
        Source("deoldify-video", "the calmest, for films", 218.2, 874, _MIT,
               f"{DEEPAI}/ColorizeVideo_gen.pth"),
        Source("zhang", "light; the first of its kind (2016)", 32.2, 129, _BSD,
               f"{ZHANG}/colorization_release_v2-9b330a0b.pth", "9b330a0b"),
        Source("siggraph17", "calm and pale (2017)", 34.2, 137, _BSD,
               f"{ZHANG}/siggraph17-df00044c.pth", "df00044c"),
    )
}  # fmt: skip


def find(name: str) -> Source:
    """Returns the source of a name. Raises FetchError, and lists the names."""
    if name not in SOURCES:
        raise FetchError(f"no public network {name!r}: known are {', '.join(SOURCES)}")
    return SOURCES[name]


def folder() -> Path:
    """Where models made of public weights lie."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kinemacolor" / "models"


def model_file(name: str) -> Path:
    """Where the model of that name lies, or would."""
    return folder() / f"{name}.onnx"


def remembered(what: str) -> dict[str, Any]:
    """What was written by `remember`; empty where nothing was, or it cannot be read."""
    try:
        found = json.loads((folder() / f"{what}.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(what: str, entries: dict[str, Any]) -> None:
    """Adds entries to a small file beside the models."""
    file = folder() / f"{what}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_text(json.dumps(remembered(what) | entries, indent=1, sort_keys=True))
    part.replace(file)
