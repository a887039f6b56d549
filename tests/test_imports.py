"""Imports run one way: stream -> engine <- export, and heavy packages only where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "engine", "export", "benchmarks", "tests", "samples")
# An inference runtime is imported by the one module named after it, and nowhere else.
RUNTIMES = {
    "openvino": {"engine/openvino_backend.py"},
    "onnxruntime": {"engine/onnxruntime_backend.py"},
    "tensorrt": {"engine/tensorrt_backend.py", "engine/build.py"},
    "tensorrt_rtx": {"engine/tensorrt_backend.py", "engine/build.py"},
    "pycuda": {"engine/cuda.py"},
}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(package: str) -> list[tuple[str, str]]:
    """(file, name of an imported module) over a whole package."""
    return [
        (path.relative_to(ROOT).as_posix(), name)
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in imported(path)
    ]


def breaches(package: str, forbidden: set[str]) -> list[tuple[str, str]]:
    return [(file, name) for file, name in imports(package) if name.split(".")[0] in forbidden]


def test_engine_knows_neither_av_nor_torch_nor_the_packages_above_it() -> None:
    assert breaches("engine", {"av", "torch", "stream", "export", "typer", "rich"}) == []


def test_stream_knows_neither_torch_nor_export() -> None:
    assert breaches("stream", {"torch", "torchvision"}) == []
    # `kinemacolor train` and its kin: the command alone may call into export, inside a function.
    assert [b for b in breaches("stream", {"export"}) if b[0] != "stream/cli.py"] == []


def test_export_does_not_know_stream() -> None:
    assert breaches("export", {"stream"}) == []


@pytest.mark.parametrize("package", ["stream", "engine", "export"])
def test_nothing_imports_benchmarks_tests_or_samples(package: str) -> None:
    assert breaches(package, {"benchmarks", "tests", "samples"}) == []


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("package", ["stream", "engine"])
def test_a_runtime_is_imported_only_in_the_module_named_after_it(
    package: str, runtime: str
) -> None:
    found = {file for file, _ in breaches(package, {runtime})}
    assert found <= RUNTIMES[runtime]


def test_only_the_command_prints_or_exits() -> None:
    guilty = []
    for path in [*(ROOT / "stream").rglob("*.py"), *(ROOT / "engine").rglob("*.py")]:
        if path.parent == ROOT / "stream" and path.name in (
            "cli.py",
            "models_cli.py",
            "console.py",
        ):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("print", "exit", "quit"):
                    guilty.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.exit":
                guilty.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert guilty == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("kinemacolor", {"stream", "engine", "export", "numpy", "av", "typer"}),
        ("stream.cli", {"openvino", "onnxruntime", "torch"}),
        ("stream.jobs", {"openvino", "onnxruntime", "torch", "export"}),
        ("stream.doctor", {"openvino", "onnxruntime", "torch"}),
        ("engine", {"openvino", "onnxruntime", "torch", "av", "stream"}),
    ],
)
def test_importing_a_module_leaves_the_heavy_ones_alone(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {unwanted!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_openvino_does_not_report_its_use_over_the_network() -> None:
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    code = (
        "import sys, threading, engine.openvino_backend as b; b.abilities();"
        "print([m for m, v in sys.modules.items() if v and m.startswith('openvino_telemetry')],"
        "threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] 1"
