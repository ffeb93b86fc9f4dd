from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import BusyError, LabctlError
from labctl.vlab import builder, image, steps, store
from labctl.vlab.recipe import Recipe
from labctl.vlab.state import Machine, MachineRecord

RECIPE = Recipe(sources=("deb http://deb.debian.org/debian bookworm main",))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(image, "require", lambda *tables, files=(): None)
    monkeypatch.setattr(image.Recipe, "of_this_host", classmethod(lambda cls, *, tree: RECIPE))
    return tmp_path / "cache/labctl/images"


def fake_build(recipe: Recipe, work: Path, progress: object) -> str:
    (work / "root.img").write_bytes(b"disk")
    return "6.1.0-1"


def test_the_key_follows_what_the_image_holds(tmp_path: Path) -> None:
    certificate = tmp_path / "ca.crt"
    certificate.write_text("one")
    base = replace(RECIPE, certificates=(certificate,))
    keys = {
        base.key(),
        RECIPE.key(),
        replace(base, sources=("deb http://m.example/debian bookworm main",)).key(),
        replace(base, packages=("systemd",)).key(),
        replace(base, tree=True).key(),
    }
    assert len(keys) == 5
    assert replace(base, proxies=(("Acquire::http::Proxy", "http://p"),)).key() == base.key()
    certificate.write_text("two")
    assert base.key() not in keys


def test_an_image_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "build", fake_build)
    first = image.ensure_image(lambda line: None)
    assert first.disk.read_bytes() == b"disk"
    assert json.loads((first.folder / "image.json").read_text())["sources"] == list(RECIPE.sources)

    def never(*args: object) -> str:
        raise AssertionError("built again")

    monkeypatch.setattr(builder, "build", never)
    assert image.ensure_image(lambda line: None) == first
    assert store.cached_images() == [first]


def test_a_failed_build_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(recipe: Recipe, work: Path, progress: object) -> str:
        (work / "root.img").write_bytes(b"half")
        raise LabctlError("no network")

    monkeypatch.setattr(builder, "build", fail)
    with pytest.raises(LabctlError, match="no network"):
        image.ensure_image(lambda line: None)
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_a_damaged_image_is_built_again_and_remains_are_cleared(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = cache / RECIPE.key()
    damaged.mkdir(parents=True)
    (damaged / "root.img").write_bytes(b"old")
    remains = cache / ".building-killed"
    remains.mkdir()
    monkeypatch.setattr(builder, "build", fake_build)
    built = image.ensure_image(lambda line: None)
    assert built.disk.read_bytes() == b"disk"
    assert sorted(path.name for path in cache.iterdir()) == [".lock", RECIPE.key()]


def test_a_forced_build_replaces_but_never_under_running_machines(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(builder, "build", fake_build)
    first = image.ensure_image(lambda line: None)
    second = image.ensure_image(lambda line: None, force=True)
    assert second.built > first.built
    machine = Machine(tmp_path / "inventory.yaml", "box1")
    machine.write(MachineRecord("box1", "box", second.key, "127.0.0.1", 1, "tcg"))
    with pytest.raises(BusyError, match="running machines stand on it"):
        image.ensure_image(lambda line: None, force=True)


def test_prune_keeps_the_present_image_and_those_in_use(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(builder, "build", fake_build)
    image.ensure_image(lambda line: None)
    for key in ("1" * 16, "2" * 16):
        (cache / key).mkdir()
        facts = {"key": key, "kernel": "6.1", "built": 1.0, "seconds": 1.0}
        (cache / key / "image.json").write_text(json.dumps(facts))
    machine = Machine(tmp_path / "inventory.yaml", "box1")
    machine.write(MachineRecord("box1", "box", "2" * 16, "127.0.0.1", 1, "tcg"))
    assert store.prune(image.current_keys(), lambda line: None) == ["1" * 16]
    assert {one.key for one in store.cached_images()} == {RECIPE.key(), "2" * 16}


def test_a_failing_step_tells_its_own_words(tmp_path: Path) -> None:
    script = "echo 'I: working...' >&2; echo 'W: noise'; echo 'E: no \x1b[31mmirror' >&2; exit 4"
    said: list[str] = []
    with pytest.raises(LabctlError, match="sh failed: E: no mirror") as caught:
        steps.run(["sh", "-c", script], said.append, tmp_path, thing="box image")
    assert said == ["  working..."]
    assert "apt sources" in caught.value.action
    assert b"noise" in (tmp_path / "build.log").read_bytes()


def test_holes_stay_holes(tmp_path: Path) -> None:
    data = b"head" + bytes(1 << 20) + b"tail" + bytes(1 << 20)
    with (tmp_path / "disk").open("wb") as target:
        steps.copy_sparse(io.BytesIO(data), target)
    assert (tmp_path / "disk").read_bytes() == data
    assert os.stat(tmp_path / "disk").st_blocks * 512 < len(data) // 4  # noqa: PTH116
