"""The proof shares no code with what it proves."""

from __future__ import annotations

import ast
from pathlib import Path

import kinemacolor.stream.proof
import pytest

ROOM = Path(kinemacolor.stream.proof.__file__).parent
OURS = "kinemacolor."
# Of the product, only what says nothing of reading, repairing or converting.
ALLOWED = ("kinemacolor.stream.errors", "kinemacolor.stream.address", "kinemacolor.stream.proof.")
# What a run reads stills with.
READERS = ("PIL", "tifffile", "pillow_heif")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.append(f"{node.module}.")
    return found


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")), ids=lambda path: path.name)
def test_the_proof_imports_nothing_of_the_run(path: Path) -> None:
    names = imports(path)
    assert [n for n in names if n.startswith(OURS) and not n.startswith(ALLOWED)] == []
    assert [name for name in names if name.split(".")[0] in READERS] == []
