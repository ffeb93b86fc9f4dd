from __future__ import annotations

import itertools
import json
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import LabctlError, UsageError
from labctl.inventory.diagnostics import InventoryError
from labctl.vlab import (
    board,
    board_image,
    board_initramfs,
    foreign_apt,
    hostapt,
    programs,
)
from labctl.vlab import scripted_board as scripted
from labctl.vlab.board_model import (
    LinuxParts,
    PackagedFile,
    ScriptedModel,
    VirtualModel,
    read_virtual,
    virtual_models,
)
from labctl.vlab.boot_disk import partition_table
from labctl.vlab.state import Machine
from labctl.vlab.store import Image

LINUX = LinuxParts("bookworm", "linux-image-cloud-arm64", "ttyAMA0", ("virtio_blk",), ("nokaslr",))
ARM = VirtualModel(
    name="arm",
    architecture="arm64",
    program="qemu-system-aarch64",
    program_package="qemu-system-arm",
    machine="virt",
    cpu="cortex-a57",
    flash=PackagedFile("/f/u-boot.bin", "u-boot-qemu"),
    flash_mib=64,
    linux=LINUX,
)
RISCV = replace(
    ARM,
    name="riscv",
    flash=None,
    flash_mib=None,
    linux=None,
    bios=PackagedFile("/f/fw_dynamic.bin", "opensbi"),
    payload=PackagedFile("/f/smode.bin", "u-boot-qemu"),
)
COMPLETE = """\
kind: qemu
architecture: arm64
program: qemu-system-aarch64
program_package: qemu-system-arm
machine: virt
cpu: cortex-a57
firmware:
  flash: {file: /usr/lib/u-boot/qemu_arm64/u-boot.bin, package: u-boot-qemu}
flash_mib: 64
linux:
  kernel: linux-image-cloud-arm64
  console: ttyAMA0
  modules: [virtio_blk]
"""


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "inventory.yaml"


def describe(inventory: Path, text: str, model: str = "mine") -> str:
    folder = inventory.parent / "boards" / model
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "virtual.yaml").write_text(text)
    return model


# -- virtual.yaml -------------------------------------------------------------------------------


def test_a_model_is_read_with_its_defaults(inventory: Path) -> None:
    model = read_virtual(describe(inventory, COMPLETE), inventory)
    assert isinstance(model, VirtualModel)
    assert (model.name, model.memory_mib, model.disk_mib) == ("mine", 512, 96)
    assert model.flash == PackagedFile("/usr/lib/u-boot/qemu_arm64/u-boot.bin", "u-boot-qemu")
    assert model.linux == LinuxParts(
        "bookworm", "linux-image-cloud-arm64", "ttyAMA0", ("virtio_blk",)
    )


def test_a_scripted_model_carries_its_settings(inventory: Path) -> None:
    name = describe(inventory, "kind: scripted\nsettings: {noise: 0.005}\n")
    assert read_virtual(name, inventory) == ScriptedModel("mine", {"noise": 0.005})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: qemu", "kind: bochs", "1:7: 'kind' must be 'qemu', 'scripted', 'rom' or 'avr'"),
        ("cpu: cortex-a57\n", "", "'cpu' is missing"),
        ("machine: virt", "machin: virt", "5:1: unknown key 'machin'; did you mean 'machine'?"),
        ("machine: virt", "machine: 'virt -monitor x'", "5:10: 'virt -monitor x' does not fit"),
        ("flash_mib: 64", "flash_mib: big", "9:12: 'flash_mib' must be a whole number"),
        ("kernel: linux", "kernal: linux", "did you mean 'kernel'?"),
        ("console: ttyAMA0", "console: /dev/ttyAMA0", "12:12: '/dev/ttyAMA0' does not fit"),
        ("flash_mib: 64\n", "", "7:1: firmware in flash needs the size of the flash"),
        ("  flash: {", "  payload: {", "7:1: firmware begins in flash or in a bios"),
        ("file: /usr", "file: usr", "does not fit here; write something like '/usr/lib"),
        ("modules: [virtio_blk]", "modules: ['a b']", "13:13: 'a b' does not fit"),
    ],
)
def test_a_mistake_is_told_at_its_place(inventory: Path, old: str, new: str, said: str) -> None:
    assert old in COMPLETE
    name = describe(inventory, COMPLETE.replace(old, new))
    with pytest.raises(InventoryError) as caught:
        read_virtual(name, inventory)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_mistakes_are_told_at_once(inventory: Path) -> None:
    text = COMPLETE.replace("cpu: cortex-a57", "cpu: 57").replace("machine:", "machin:")
    with pytest.raises(InventoryError) as caught:
        read_virtual(describe(inventory, text), inventory)
    assert len(caught.value.diagnostics) == 3


@pytest.mark.parametrize("text", ["", "- a\n", "kind: [\n", "text\n"])
def test_a_file_that_is_no_mapping_is_refused(inventory: Path, text: str) -> None:
    with pytest.raises(InventoryError):
        read_virtual(describe(inventory, text), inventory)


def test_an_unknown_model_names_the_near_one(inventory: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'qemu-arm64'") as caught:
        read_virtual("qemu-arm", inventory)
    assert "qemu-riscv64" in caught.value.action


def test_a_model_beside_the_inventory_wins(inventory: Path) -> None:
    describe(inventory, COMPLETE.replace("cortex-a57", "max"), "qemu-arm64")
    model = read_virtual("qemu-arm64", inventory)
    assert isinstance(model, VirtualModel)
    assert model.cpu == "max"


def test_every_model_that_labctl_brings_along_is_right_and_its_packages_are_listed() -> None:
    models = [read_virtual(name, None) for name in virtual_models(None)]
    emulated = {model.name: model for model in models if isinstance(model, VirtualModel)}
    assert {"qemu-arm64", "qemu-riscv64"} <= set(emulated)
    for model in emulated.values():
        tools, files = board.programs(model)
        needed = {*tools.values(), *(package for _, package in files)}
        assert needed <= set(programs.packages())
    assert set(board_image.BUILD_PROGRAMS.values()) - {"apt", "dpkg"} <= set(programs.packages())


# -- QEMU's command line ------------------------------------------------------------------------


def options(command: list[str], name: str) -> list[str]:
    return [value for key, value in itertools.pairwise(command) if key == name]


def test_a_board_starts_without_power_and_stays_when_its_linux_powers_off(inventory: Path) -> None:
    command = board.command_line(Machine(inventory, "b1"), ARM)
    assert "-S" in command
    assert "-no-shutdown" in command
    assert options(command, "-accel") == ["tcg,thread=multi,tb-size=256"]


def test_firmware_goes_where_the_model_says(inventory: Path) -> None:
    machine = Machine(inventory, "b1")
    arm, riscv = (board.command_line(machine, one) for one in (ARM, RISCV))
    assert [word for word in options(arm, "-drive") if "pflash" in word] == [
        "if=pflash,unit=0,format=raw,file=flash0.img",
        "if=pflash,unit=1,format=raw,file=flash1.img",
    ]
    assert not options(arm, "-bios") + options(arm, "-kernel")
    assert options(riscv, "-bios") == ["/f/fw_dynamic.bin"]
    assert options(riscv, "-kernel") == ["/f/smode.bin"]
    assert not [word for word in options(riscv, "-drive") if "pflash" in word]


def test_sockets_are_short_however_deep_the_folder_is_and_a_comma_is_no_option(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = inventory.parent / "state,of=mine" / ("d" * 100)
    monkeypatch.setenv("XDG_STATE_HOME", str(deep))
    machine = Machine(inventory, "b1")
    command = board.command_line(machine, ARM)
    assert options(command, "-chardev")[0].startswith("socket,id=con,path=console.sock,")
    assert options(command, "-qmp") == ["unix:qmp.sock,server=on,wait=off"]
    tftp = options(command, "-netdev")[0].partition(",tftp=")[2]
    assert tftp.replace(",,", ",") == str(machine.folder / "tftp")
    assert ",," in tftp
    assert options(command, "-pidfile") == [str(machine.pidfile)]


def test_a_new_board_has_fresh_flash_and_the_files_of_its_image(
    inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = tmp_path / "u-boot.bin"
    firmware.write_bytes(b"U-Boot")
    image = Image(tmp_path / "image", "0123", "6.1", 0.0, 0.0, "board", "arm")
    model = replace(ARM, flash=PackagedFile(str(firmware), "u-boot-qemu"))
    commands: list[list[str]] = []
    monkeypatch.setattr(board, "run_tool", lambda machine, command: commands.append(command))
    machine = Machine(inventory, "b1")
    record = board.start(machine, model, image)
    assert (record.kind, record.image, record.line) == ("board", "0123", f"unix:{machine.console}")
    for unit, head in ((0, b"U-Boot"), (1, b"")):
        bank = machine.folder / f"flash{unit}.img"
        assert bank.stat().st_size == 64 << 20
        assert bank.stat().st_blocks * 512 < 1 << 20  # sparse
        with bank.open("rb") as stream:
            assert stream.read(16) == head.ljust(16, b"\0")
    assert (machine.folder / "tftp/vmlinuz").readlink() == image.boot / "vmlinuz"
    assert str(image.disk) in commands[0]
    assert image.disk.name == "disk.img"


def test_a_board_that_does_not_start_leaves_nothing(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(machine: Machine, command: list[str]) -> None:
        raise LabctlError("no", thing=machine.name)

    monkeypatch.setattr(board, "run_tool", fail)
    machine = Machine(inventory, "b1")
    with pytest.raises(LabctlError, match="no"):
        board.start(machine, RISCV, None)
    assert machine.state() == "down"


def test_a_scripted_board_that_does_not_start_tells_its_own_words(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(inventory, "b1")
    script = "echo 'labctl: --settings: no \x1b[31mbaud' >&2; exit 2"
    monkeypatch.setattr(scripted, "command_line", lambda *_: ["sh", "-c", script])
    with pytest.raises(LabctlError, match="b1: --settings: no baud"):
        scripted.start(machine, ScriptedModel("s"))
    assert machine.state() == "down"


def test_a_scripted_board_is_found_again_by_its_pid_file(inventory: Path) -> None:
    machine = Machine(inventory, "b1")
    command = scripted.command_line(machine, ScriptedModel("s", {"noise": 0.5}))
    assert command[1:3] == ["-m", "labctl.vlab.scripted"]
    assert str(machine.pidfile) in command
    assert json.loads(command[command.index("--settings") + 1]) == {"noise": 0.5}


# -- what is on the disk ------------------------------------------------------------------------


def test_the_key_follows_what_the_image_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = ["deb http://deb.debian.org/debian bookworm main"]
    monkeypatch.setattr(hostapt, "debian_sources", lambda: sources)

    def key(model: VirtualModel) -> str:
        assert model.linux is not None
        return board_image._key(model, model.linux)

    changed = [
        ARM,
        replace(ARM, architecture="riscv64"),
        replace(ARM, disk_mib=128),
        replace(ARM, linux=replace(LINUX, suite="trixie")),
        replace(ARM, linux=replace(LINUX, kernel="linux-image-arm64")),
        replace(ARM, linux=replace(LINUX, words=())),
        replace(ARM, linux=replace(LINUX, modules=("virtio_net",))),
        replace(ARM, linux=replace(LINUX, console="ttyS0")),
    ]
    assert len({key(model) for model in changed}) == len(changed)
    # What QEMU makes of it does not matter to the disk.
    assert key(replace(ARM, cpu="max", memory_mib=1024)) == key(ARM)
    before = key(ARM)
    sources.append("deb http://security.debian.org bookworm-security main")
    assert key(ARM) != before


def test_a_model_without_linux_needs_no_image() -> None:
    assert board_image.ensure_board_image(RISCV, print) is None
    assert board_image.ensure_board_image(ScriptedModel("s"), print) is None


def test_the_partition_is_where_the_table_says() -> None:
    table = partition_table(96)
    assert len(table) == 512
    assert table[510:] == b"\x55\xaa"
    active, kind, first, count = struct.unpack("<B3xB3xII", table[446:462])
    assert (active, kind, first * 512, (first + count) * 512) == (0x80, 0x83, 1 << 20, 96 << 20)


def test_the_getty_is_on_the_line_and_root_has_no_password() -> None:
    files = board_initramfs.files("qemu-arm64", LINUX)
    assert b"ttyAMA0::respawn:/sbin/getty -L 115200 ttyAMA0" in files["etc/inittab"][0]
    assert files["etc/passwd"][0].startswith(b"root::0:0:")
    assert files["etc/hostname"][0] == b"qemu-arm64\n"
    assert files["etc/rcS"][1] == 0o755
    script = files["etc/rcS"][0].decode()
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0


def test_the_kernel_gets_its_console_and_the_models_words() -> None:
    assert board_image.boot_words(LINUX) == "console=ttyAMA0,115200 nokaslr"


# -- packages of another architecture -----------------------------------------------------------


def test_sources_keep_the_mirror_and_take_the_suite() -> None:
    host = [
        "deb http://mirror.example/debian bookworm main contrib",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://mirror.example/debian-security bookworm-security main",
    ]
    signed = f"[signed-by={programs.KEYRING}]"
    assert foreign_apt.sources_for("trixie", host) == [
        f"deb {signed} http://mirror.example/debian trixie main contrib",
        f"deb {signed} http://mirror.example/debian trixie-updates main",
        f"deb {signed} http://mirror.example/debian-security trixie-security main",
    ]
    assert " bookworm-security " in foreign_apt.sources_for("bookworm", host)[2]


def test_apt_uses_nothing_of_the_hosts_and_never_skips_a_check(tmp_path: Path) -> None:
    proxy = 'Acquire::http::Proxy "http://p.example:3142";\n'
    text = foreign_apt.config_text(tmp_path / "apt", "arm64", proxy)
    config = tmp_path / "apt.conf"
    config.write_text(text)
    dump = subprocess.run(
        ["apt-config", "dump"], env={"APT_CONFIG": str(config), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    settings = dict(line.rstrip(";").split(" ", 1) for line in dump.splitlines())
    for name in ("Dir::State", "Dir::Cache", "Dir::Etc", "Dir::State::status"):
        assert settings[name].strip('"').startswith(str(tmp_path / "apt"))
    assert settings["APT::Architecture"] == '"arm64"'
    assert settings["Acquire::http::Proxy"] == '"http://p.example:3142"'
    for weak in ("AllowUnauthenticated", "AllowInsecureRepositories", "Check-Valid-Until"):
        assert weak not in text
