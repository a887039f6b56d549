"""How the commands end, and what becomes of what they cannot print."""

from __future__ import annotations

import io
import re
import sys

import pytest
from kinemacolor.stream.command.console import Exit, drop_what_cannot_be_said

from tests.command import ROOT


def test_every_exit_code_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = dict(re.findall(r"^\| (\d+)(?: \+ n)? \| `(\w+)`", text, re.MULTILINE))
    assert rows == {str(int(code)): code.name for code in Exit}


class GoneTerminal(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_what_cannot_be_printed_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole film stayed .partial, because its terminal was gone and a line could not be said."""
    monkeypatch.setattr(sys, "stderr", GoneTerminal())
    drop_what_cannot_be_said()
    print("hello", file=sys.stderr, flush=True)
    assert not sys.stderr.isatty()
