"""The plan cache: a plan that is stale, cut short or foreign is never loaded, and it says why."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kinemacolor.engine.tensorrt.cache import PlanCache, PlanKey, default_folder, file_sha256

KEY = PlanKey(
    model="kinema",
    model_sha256="ab" * 32,
    conversion="1",
    precision="fp16",
    module="tensorrt",
    module_version="11.4.0.106",
    gpu="NVIDIA H200",
    compute_capability="9.0",
    profile="batch 1-4-8, 256x256",
    flags="strongly typed",
)
PLAN = bytes(range(256)) * 64


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_plan_is_found_again_as_it_was_written(cache: PlanCache) -> None:
    assert cache.find(KEY).reason == "none has been built yet"
    cache.store(KEY, PLAN)
    assert cache.find(KEY).plan == PLAN


def test_the_sidecar_says_in_words_what_the_plan_was_made_from(cache: PlanCache) -> None:
    path = cache.store(KEY, PLAN, seconds=12.5)
    words = json.loads(path.with_suffix(".json").read_text())
    assert words["made from"]["module_version"] == "11.4.0.106"
    assert words["made from"]["gpu"] == "NVIDIA H200"
    assert words["made from"]["profile"] == "batch 1-4-8, 256x256"
    assert words["seconds"] == 12.5
    assert words["bytes"] == len(PLAN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": "cd" * 32}, "the model file changed"),
        ({"module_version": "11.5"}, "module version was 11.4.0.106, is 11.5"),
        ({"gpu": "NVIDIA H100"}, "gpu was NVIDIA H200, is NVIDIA H100"),
        ({"conversion": "2"}, "conversion was 1, is 2"),
        ({"flags": "refit"}, "flags was strongly typed, is refit"),
    ],
)
def test_a_stale_plan_is_not_loaded_and_the_change_is_named(
    cache: PlanCache, change: dict[str, str], message: str
) -> None:
    cache.store(KEY, PLAN)
    found = cache.find(replace(KEY, **change))
    assert found.plan is None
    assert found.reason == message


@pytest.mark.parametrize(
    "change",
    [{"precision": "fp32"}, {"compute_capability": "8.6"}, {"profile": "batch 1-1-1, 256x256"}],
)
def test_plans_that_are_wanted_side_by_side_do_not_push_each_other_out(
    cache: PlanCache, change: dict[str, str]
) -> None:
    cache.store(KEY, PLAN)
    cache.store(replace(KEY, **change), b"another")
    assert cache.find(KEY).plan == PLAN


def test_a_new_version_takes_the_place_of_the_old_one(cache: PlanCache) -> None:
    cache.store(KEY, PLAN)
    cache.store(replace(KEY, module_version="11.5"), b"newer")
    assert len(list(cache.folder.glob("*.plan"))) == 1


def test_a_plan_cut_short_is_not_loaded(cache: PlanCache) -> None:
    path = cache.store(KEY, PLAN)
    path.write_bytes(PLAN[:1000])
    assert cache.find(KEY).plan is None
    assert cache.find(KEY).reason == f"the plan has 1000 bytes of {len(PLAN)}"


def test_a_plan_with_one_other_byte_is_not_loaded(cache: PlanCache) -> None:
    path = cache.store(KEY, PLAN)
    path.write_bytes(PLAN[:-1] + b"\0")
    assert cache.find(KEY).plan is None
    assert "not those that were written" in cache.find(KEY).reason


def test_a_foreign_plan_is_not_loaded(cache: PlanCache) -> None:
    cache.folder.mkdir()
    cache.path(KEY).write_bytes(PLAN)
    cache.path(KEY).chmod(0o600)
    assert cache.find(KEY).plan is None
    assert "nobody knows what the plan is of" in cache.find(KEY).reason


@pytest.mark.parametrize("text", ["", "{", "[]", '{"made from": {}}', "null"])
def test_an_unreadable_sidecar_is_no_proof(cache: PlanCache, text: str) -> None:
    path = cache.store(KEY, PLAN)
    path.with_suffix(".json").write_text(text)
    assert cache.find(KEY).plan is None
    assert cache.find(KEY).reason.endswith("is unreadable")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("which", ["plan", "sidecar", "folder"])
def test_a_plan_that_others_can_write_is_not_trusted(cache: PlanCache, which: str) -> None:
    """A plan is executable code: on a shared machine its folder must not be anybody's."""
    plan = cache.store(KEY, PLAN)
    file = {"plan": plan, "sidecar": plan.with_suffix(".json"), "folder": cache.folder}[which]
    file.chmod(file.stat().st_mode | stat.S_IWOTH)
    assert cache.find(KEY).plan is None
    assert "not trusted" in cache.find(KEY).reason


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_what_is_written_is_private(cache: PlanCache) -> None:
    path = cache.store(KEY, PLAN)
    for file, mode in ((path, 0o600), (path.with_suffix(".json"), 0o600), (cache.folder, 0o700)):
        assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_writer_that_dies_half_way_leaves_no_plan(
    cache: PlanCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        cache.store(KEY, PLAN)
    assert list(cache.folder.iterdir()) == []


def test_a_writer_that_dies_between_plan_and_sidecar_leaves_no_valid_plan(
    cache: PlanCache,
) -> None:
    cache.store(KEY, PLAN)
    cache.path(KEY).write_bytes(PLAN[::-1])  # the new plan is there, the sidecar is the old one's
    assert cache.find(KEY).plan is None


def test_a_discarded_plan_is_gone(cache: PlanCache) -> None:
    cache.store(KEY, PLAN)
    cache.discard(KEY)
    assert cache.find(KEY).reason == "none has been built yet"
    cache.discard(KEY)


def test_timings_are_kept_for_each_version_and_gpu(cache: PlanCache) -> None:
    assert cache.timings(KEY) is None
    cache.store_timings(KEY, b"timings")
    assert cache.timings(replace(KEY, model="other", precision="fp32")) == b"timings"
    assert cache.timings(replace(KEY, module_version="11.5")) is None
    assert cache.timings(replace(KEY, gpu="NVIDIA H100")) is None


def test_names_of_models_make_no_paths(cache: PlanCache) -> None:
    assert cache.path(replace(KEY, model="../../etc/x y")).parent == cache.folder


def build_once(folder: Path, built: Path) -> None:
    """What `load_or_build` does, with a build that takes a while and leaves a mark."""
    cache = PlanCache(folder)
    with cache.lock(KEY):
        if cache.find(KEY).plan is None:
            time.sleep(0.3)
            (built / str(os.getpid())).touch()
            cache.store(KEY, PLAN)
    assert cache.find(KEY).plan == PLAN


def test_two_processes_build_once(tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=build_once, args=(tmp_path / "plans", built)) for _ in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(list(built.iterdir())) == 1


def hold(folder: Path, held: str) -> None:
    with PlanCache(folder).lock(KEY):
        Path(held).touch()
        time.sleep(60)


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    held = tmp_path / "held"
    process = multiprocessing.get_context("spawn").Process(
        target=hold, args=(tmp_path / "plans", str(held))
    )
    process.start()
    waited: list[bool] = []

    def kill_when_waiting() -> None:
        waited.append(True)
        process.kill()

    deadline = time.monotonic() + 30
    while not held.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    with PlanCache(tmp_path / "plans").lock(KEY, kill_when_waiting):
        assert waited
    process.join(30)


def test_waiting_can_be_given_up(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    cache = PlanCache(tmp_path)
    with cache.lock(KEY), pytest.raises(KeyboardInterrupt), cache.lock(KEY, stop):
        pass


def test_the_folder_follows_the_users_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "/there")
    assert default_folder() == Path("/there/kinemacolor/plans")


def test_model_files_are_known_by_their_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"abc")
    other.write_bytes(b"abd")
    assert file_sha256(one) != file_sha256(other)
    assert file_sha256(one).startswith("ba7816bf")  # FIPS 180-2, appendix B.1
