from __future__ import annotations

import stat
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.vlab.cpio import CpioWriter
from labctl.vlab.initramfs import BoxIdentity, base_archive, module_order


def unpack(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read a newc archive by its documentation: name -> (mode, content)."""
    found, position = {}, 0
    while True:
        assert archive[position : position + 6] == b"070701"
        fields = [int(archive[position + 6 + 8 * i : position + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        start = position + 110
        name = archive[start : start + name_size - 1].decode()
        assert archive[start + name_size - 1] == 0
        data = (start + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert len(archive) % 4 == 0
            return found
        assert name not in found
        found[name] = (mode, archive[data : data + size])
        position = (data + size + 3) // 4 * 4


def test_folders_come_before_what_is_in_them_and_only_once() -> None:
    cpio = CpioWriter()
    cpio.add_file("a/b/one", b"1", 0o600)
    cpio.add_file("a/b/three", b"333")
    cpio.add_link("a/link", "b/one")
    entries = unpack(cpio.finish())
    assert list(entries) == ["a", "a/b", "a/b/one", "a/b/three", "a/link"]
    assert entries["a/b/one"] == (stat.S_IFREG | 0o600, b"1")
    assert entries["a/b/three"] == (stat.S_IFREG | 0o644, b"333")
    assert entries["a/link"] == (stat.S_IFLNK | 0o777, b"b/one")
    assert stat.S_ISDIR(entries["a"][0])


def test_private_host_keys_are_for_root_only() -> None:
    identity = BoxIdentity(
        "box9", "0" * 32, "$6$x", {"ssh_host_rsa_key": b"k", "ssh_host_rsa_key.pub": b"p"}, "A;\n"
    )
    entries = unpack(identity.archive())
    assert entries["box/files/etc/ssh/ssh_host_rsa_key"] == (stat.S_IFREG | 0o600, b"k")
    assert entries["box/files/etc/ssh/ssh_host_rsa_key.pub"][0] == stat.S_IFREG | 0o644
    assert entries["box/root-hash"] == (stat.S_IFREG | 0o600, b"$6$x")
    assert entries["box/files/etc/hostname"][1] == b"box9\n"
    assert b"127.0.1.1\tbox9\n" in entries["box/files/etc/hosts"][1]
    assert entries["box/files/etc/apt/apt.conf.d/01proxy"][1] == b"A;\n"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    # As depmod writes it: what a module needs, the deepest last.
    (tmp_path / "modules.dep").write_text(
        "kernel/a/virtio.ko:\n"
        "kernel/a/virtio_ring.ko: kernel/a/virtio.ko\n"
        "kernel/a/virtio_pci.ko: kernel/a/virtio_ring.ko kernel/a/virtio.ko\n"
        "kernel/b/virtio-rng.ko: kernel/a/virtio_ring.ko kernel/a/virtio.ko\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    for name in ("a/virtio", "a/virtio_ring", "a/virtio_pci", "b/virtio-rng"):
        path = tmp_path / "kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def test_modules_are_loaded_after_what_they_need(modules: Path) -> None:
    names = ("virtio_pci", "ext4", "virtio_rng")
    assert [path.rpartition("/")[2] for path in module_order(modules, names)] == [
        "virtio.ko",
        "virtio_ring.ko",
        "virtio_pci.ko",
        "virtio-rng.ko",
    ]


def test_a_missing_module_is_named(modules: Path) -> None:
    with pytest.raises(LabctlError, match="no module virtio_blk"):
        module_order(modules, ("virtio_blk",))


def test_the_common_archive_has_an_init_and_its_tools(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labctl.vlab.initramfs.module_order.__defaults__", (("virtio_pci",),))
    entries = unpack(base_archive(modules, b"busybox"))
    init = entries["init"][1].decode()
    assert entries["init"][0] == stat.S_IFREG | 0o755
    assert entries["modules/order"][1] == b"virtio.ko\nvirtio_ring.ko\nvirtio_pci.ko\n"
    used = {"mount", "insmod", "sleep", "cat", "cp", "sed", "touch", "rm", "umount", "switch_root"}
    for word in used:
        assert f"{word} " in init
        assert entries[f"bin/{word}"][1] == b"busybox"
