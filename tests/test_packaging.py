"""The package: built from its own source archive it holds all it needs, under one import name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import kinemacolor
from tests.command import ROOT
from tests.models import write_model

with (ROOT / "pyproject.toml").open("rb") as file:
    SETUPTOOLS = tomllib.load(file)["tool"]["setuptools"]
FOLDERS = {"kinemacolor": "kinemacolor", **SETUPTOOLS["package-dir"]}  # by import name
SOURCES = (*FOLDERS.values(), "pyproject.toml", "README.md", "LICENSE")
NO_SOURCE = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")


def build(what: str, project: Path, out: Path) -> Path:
    """Builds as every installer does: by the hooks of the build backend, in its own process."""
    code = f"from setuptools.build_meta import *; print(build_{what}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the source archive, and nothing else."""
    folder = tmp_path_factory.mktemp("build")
    project, out = folder / "project", folder / "dist"
    out.mkdir()
    project.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name, ignore=NO_SOURCE)
        else:
            shutil.copy(ROOT / name, project / name)
    archive = build("sdist", project, out)
    shutil.rmtree(project)
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (root,) = (folder / "unpacked").iterdir()
    return build("wheel", root, out)


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        return {name for name in packed.namelist() if not name.endswith("/")}


def installed(path: Path) -> str:
    """Where a file of the tree lies once it is installed."""
    name = path.relative_to(ROOT).as_posix()
    return name if name.startswith("kinemacolor/") else f"kinemacolor/{name}"


def shipped() -> list[Path]:
    """Every file of the packages' folders but what Python and installers leave there."""
    return [
        path
        for folder in FOLDERS.values()
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    ]


def test_every_folder_with_files_is_a_package_of_the_list() -> None:
    """Listed by hand; what is left out would be missing only for those who install."""
    found = {installed(path).rpartition("/")[0].replace("/", ".") for path in shipped()}
    assert SETUPTOOLS["packages"] == sorted(found)


def test_the_wheel_holds_every_file_of_the_packages(names: set[str]) -> None:
    assert {installed(path) for path in shipped()} <= names


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "__init__.pyi",
        "engine/models/kinema.onnx",
        "engine/cuda/kernels.cu",
        "engine/graphs/fp16_pictures.npz",
        "export/ab_prior.npy",
    ],
)
def test_the_wheel_holds_what_is_no_code(names: set[str], name: str) -> None:
    assert f"kinemacolor/{name}" in names


def test_the_wheel_has_one_name_at_the_top(names: set[str]) -> None:
    """A top-level `stream` or `engine` would be in the way of everybody else's."""
    version = kinemacolor.__version__
    assert {name.split("/")[0] for name in names} == {
        "kinemacolor",
        f"kinemacolor-{version}.dist-info",
    }


def test_installed_it_minds_no_files_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    here.mkdir()
    for name in ("engine", "stream", "export"):
        (here / f"{name}.py").write_text("raise RuntimeError('this is not kinemacolor')\n")
    write_model(here / "tiny.onnx")
    code = (
        "import sys, kinemacolor\n"
        "report = kinemacolor.colorize('test:64x48@25#0.2', 'out.mkv', model='tiny.onnx',"
        " backend='onnxruntime', steady='off', codec='ffv1')\n"
        "print(report['ended'], report['frames_out'])\n"
        "ours = [m.__file__ for n, m in sys.modules.items() if n.startswith('kinemacolor.')]\n"
        f"print(len(ours) > 20, all(file.startswith({str(site)!r}) for file in ours))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env={"PYTHONPATH": str(site), "PATH": "", "HOME": str(here)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("whole 5\nTrue True\n", 0), done.stderr
    assert (here / "out.mkv").stat().st_size > 0


def test_every_public_name_is_there() -> None:
    assert kinemacolor.__all__ == dir(kinemacolor)
    assert {"Run", "Job", "Options", "colorize", "load", "run"} <= set(kinemacolor.__all__)
    for name in kinemacolor.__all__:
        assert getattr(kinemacolor, name).__module__.startswith(("kinemacolor.", "types"))
    with pytest.raises(AttributeError, match="nonesuch"):
        kinemacolor.nonesuch  # noqa: B018


def test_the_version_is_that_of_the_package() -> None:
    assert kinemacolor.__version__ == version("kinemacolor")


@pytest.mark.parametrize(
    "page", [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("*.md"))]
)
def test_files_that_a_page_names_are_there(page: str) -> None:
    """They were forgotten when modules moved."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:stream|engine|export|kinemacolor|tests|\.ci)/[\w./]*)`", text)
    named += re.findall(r"\]\(([\w./-]+)\)", text)  # links
    assert [name for name in named if not (ROOT / name).exists()] == []
