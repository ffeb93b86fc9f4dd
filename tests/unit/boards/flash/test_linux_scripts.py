"""The scripts that a board is given, run by the shells that boards have, on a file."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.boards.flash.linux import scripts
from labctl.boards.flash.linux.device import check_device, parse_device, parse_identity
from labctl.boards.flash.linux.piece_server import PieceServer
from labctl.boards.flash.linux.scripts import Place
from labctl.boards.flash.method import RefusedError
from labctl.boards.flash.source import DIGITS, digest_of

SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}
SIZE = 3 << 20
Run = Callable[..., str]
relaxed = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=sorted(SHELLS))
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Return a function that runs a script; busybox gets its own programs, as a board has them."""
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    if request.param == "busybox":
        tools = tmp_path / "tools"
        tools.mkdir()
        listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
        for name in listed.stdout.split():
            (tools / name).symlink_to(shutil.which("busybox") or "")
        path = str(tools)

    def run_script(script: str, *, stdin: bytes = b"", fine: bool = True) -> str:
        done = subprocess.run(
            [*command, "-c", script], input=stdin, capture_output=True, timeout=60, check=False,
            env={"PATH": path},
        )  # fmt: skip
        assert (done.returncode == 0) is fine, (done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()

    return run_script


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "a device"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


@st.composite
def places(draw: st.DrawFn) -> list[Place]:
    """Ascending places, as pieces of images are: they begin at sectors."""
    at, found = 512 * draw(st.integers(0, 2000)), []
    for _ in range(draw(st.integers(1, 12))):
        size = draw(st.sampled_from([512, 4096, 65536, 65536, 65536, 3 * 4096]))
        at += 512 * draw(st.sampled_from([0, 0, 0, 1, 8, 100]))
        if at + size > SIZE - 1000:
            break
        found.append(Place(at, size))
        at += size
    return [*found, Place(at, draw(st.integers(1, 1000)))]


@relaxed
@given(where=places(), algorithm=st.sampled_from(["sha256", "md5"]))
def test_digests_are_of_what_is_there(
    run: Run, device: Path, where: list[Place], algorithm: str
) -> None:
    content = device.read_bytes()
    said = run(scripts.digests(str(device), algorithm, where, DIGITS)).split()
    assert said == [
        digest_of(content[one.begin : one.begin + one.size], algorithm) for one in where
    ]


def test_cksum_will_do(run: Run, device: Path) -> None:
    where = [Place(0, 65536), Place(65536, 65536), Place(131072, 77)]
    script = scripts.digests(str(device), "cksum", where, DIGITS)
    said = run(f"command -v cksum >/dev/null || exit 0\n{script}").split()
    content = device.read_bytes()
    wanted = [digest_of(content[one.begin : one.begin + one.size], "cksum") for one in where]
    assert said in ([], wanted)


@relaxed
@given(where=places(), fsync=st.booleans())
def test_zeros_go_where_they_belong_and_nowhere_else(
    run: Run, device: Path, where: list[Place], fsync: bool
) -> None:
    device.write_bytes(before := b"\xa5" * SIZE)
    whole = [one for one in where if one.size % 512 == 0]
    run(scripts.zeros(str(device), whole, fsync=fsync))
    wanted = bytearray(before)
    for one in whole:
        wanted[one.begin : one.begin + one.size] = bytes(one.size)
    assert device.read_bytes() == wanted


@relaxed
@given(where=places(), data=st.data())
def test_what_is_fetched_goes_where_it_belongs(
    run: Run, device: Path, where: list[Place], data: st.DataObject
) -> None:
    tool = data.draw(st.sampled_from([one for one in ("wget", "curl") if _has(run, one)]))
    device.write_bytes(before := b"\xa5" * SIZE)
    wanted = bytearray(before)
    server = PieceServer("127.0.0.1")
    try:
        items = []
        for number, one in enumerate(where):
            piece = random.Random(number).randbytes(one.size)
            wanted[one.begin : one.begin + one.size] = piece
            server._server.offers[f"{server.path}/{number}"] = (one.size, lambda p=piece: p)
            items.append((one, str(number)))
        url = f"http://127.0.0.1:{server.port}{server.path}"
        run(scripts.fetches(str(device), url, items, tool=tool, fsync=True))
        assert device.read_bytes() == wanted
        assert server.sent == sum(one.size for one in where)
        # Nobody else gets anything, and what is not there is not written.
        said = run(
            scripts.fetches(str(device), f"{url}x", items, tool=tool, fsync=True), fine=False
        )
        assert "nothing came for 0" in said
        assert device.read_bytes() == wanted
    finally:
        server.close()


def _has(run: Run, tool: str) -> bool:
    return bool(run(f"command -v {tool} || :").strip())


@relaxed
@given(where=places())
def test_standard_input_goes_where_it_belongs(run: Run, device: Path, where: list[Place]) -> None:
    device.write_bytes(before := b"\xa5" * SIZE)
    one = where[-1]
    content = random.Random(7).randbytes(one.size)
    run(scripts.take(str(device), one, fsync=True), stdin=content)
    assert device.read_bytes() == (before[: one.begin] + content + before[one.begin + one.size :])


def test_a_device_that_takes_nothing_says_so(run: Run) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    said = run(scripts.zeros("/dev/full", [Place(0, 4096)], fsync=False), fine=False)
    assert "No space left" in said


def test_tools_are_those_that_are_there(run: Run) -> None:
    said = run(scripts.tools()).split("\n")
    for tool in ("sha256sum", "md5sum", "wget", "curl", "base64", "gzip"):
        assert (f"tool {tool}" in said) is _has(run, tool)
    assert "tool fsync" in said
    assert any(one.startswith("scratch /") for one in said)


# -- what the kernel says of a device --------------------------------------------------------------

MOUNTS = """\
22 1 0:2 / / rw - rootfs rootfs rw
25 22 179:1 / /boot ro,relatime - ext4 /dev/mmcblk0p1 ro
26 22 8:1 / /my\\040data rw shared:1 - ext4 /dev/sda1 rw
27 22 0:44 / /pool rw - btrfs /dev/sdb rw
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A /proc and /sys with mmcblk0 (mounted), sda (mounted), sdb (btrfs), sdc (RAID), sdd."""
    sys, proc = tmp_path / "root/sys", tmp_path / "root/proc"
    blocks = {
        "mmcblk0": ("179:0", 1000, ["mmcblk0p1", "mmcblk0p2"]),
        "mmcblk0boot0": ("179:8", 8, []),
        "sda": ("8:0", 2000, ["sda1"]),
        "sdb": ("8:16", 3000, []),
        "sdc": ("8:32", 4000, ["sdc1"]),
        "sdd": ("8:48", 5000, ["sdd1"]),
    }
    (sys / "class/block").mkdir(parents=True)

    def make(folder: Path, number: str, sectors: int) -> None:
        (folder / "holders").mkdir(parents=True)
        (folder / "dev").write_text(f"{number}\n")
        (folder / "size").write_text(f"{sectors}\n")
        (folder / "ro").write_text("1\n" if "boot0" in folder.name else "0\n")
        (sys / "class/block" / folder.name).symlink_to(folder)

    for name, (number, sectors, parts) in blocks.items():
        make(sys / "devices" / name, number, sectors)
        major, _, minor = number.partition(":")
        for index, part in enumerate(parts, 1):
            folder = sys / "devices" / name / part
            make(folder, f"{major}:{int(minor) + index}", sectors // 2)
            (folder / "partition").write_text(f"{index}\n")
    (sys / "devices/sdc/sdc1/holders/md0").mkdir()
    (proc / "self").mkdir(parents=True)
    (proc / "self/mountinfo").write_text(MOUNTS)
    (proc / "swaps").write_text("Filename Type Size Used Priority\n/dev/sdd1 partition 9 0 -2\n")
    return tmp_path / "root"


def look(run: Run, root: Path, name: str) -> str:
    """Return what the script says, as if these were block devices."""
    said = run(scripts.look(f"/dev/{name}", root=str(root)))
    return said if "\nsize " not in said else said.replace("\nsize", "\nblock\nsize", 1)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mmcblk0", "mmcblk0p1 is mounted at /boot"),
        ("mmcblk0p1", "mmcblk0p1 is mounted at /boot"),
        ("sda", "sda1 is mounted at /my data"),
        ("sdb", "sdb is mounted at /pool"),
        ("sdc", "sdc1 is part of md0"),
        ("sdd", "/dev/sdd1 is in use as swap"),
        ("sdd1", "/dev/sdd1 is in use as swap"),
        ("mmcblk0boot0", "read-only"),
        ("nothing", "has no /dev/nothing"),
    ],
)
def test_a_device_that_is_in_use_is_refused(run: Run, root: Path, name: str, why: str) -> None:
    device = parse_device(f"/dev/{name}", look(run, root, name))
    with pytest.raises(RefusedError, match=why):
        check_device(device, end=512, may_unmount=())


def test_what_the_model_gives_up_is_unmounted(run: Run, root: Path) -> None:
    device = parse_device("/dev/mmcblk0", look(run, root, "mmcblk0"))
    assert (device.whole, device.size) == (True, 512_000)
    assert check_device(device, end=512_000, may_unmount=["/boot", "/srv"]) == ["/boot"]
    with pytest.raises(RefusedError, match="has 512,000 bytes, the image needs 512,001"):
        check_device(device, end=512_001, may_unmount=["/boot"])


def test_a_partition_beside_a_mounted_one_is_free(run: Run, root: Path) -> None:
    device = parse_device("/dev/mmcblk0p2", look(run, root, "mmcblk0p2"))
    assert not device.whole
    assert check_device(device, end=512, may_unmount=()) == []


def test_the_running_system_is_never_given_up(run: Run, root: Path) -> None:
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/root rw\n")
    device = parse_device("/dev/sda", look(run, root, "sda"))
    with pytest.raises(RefusedError, match="running system"):
        check_device(device, end=512, may_unmount=["/"])


def test_a_file_is_no_device(run: Run, root: Path) -> None:
    said = run(scripts.look("/dev/mmcblk0", root=str(root)))
    if "\nblock\n" in said:
        pytest.skip("this machine has one of that name")
    with pytest.raises(RefusedError, match="no block device"):
        check_device(parse_device("/dev/mmcblk0", said), end=512, may_unmount=())


def test_who_a_board_is(run: Run, root: Path) -> None:
    tree = root / "proc/device-tree"
    tree.mkdir()
    (tree / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    (tree / "serial-number").write_bytes(b"10000000abcdef01\0")
    for name, kind, address in (
        ("eth0", "0", "dc:a6:32:01:02:03"), ("usb0", "1", "1a:00:00:00:00:01"),
        ("wlan0", "0", "dc:a6:32:01:02:04"),
    ):  # fmt: skip
        card = root / "sys/class/net" / name
        (card / "device").mkdir(parents=True)
        (card / "addr_assign_type").write_text(f"{kind}\n")
        (card / "address").write_text(f"{address}\n")
    identity = parse_identity(run(scripts.identify(root=str(root))))
    assert identity.facts["model"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert identity.facts["mac"] == "dc:a6:32:01:02:03"
    assert identity.facts["serial-number"] == "10000000abcdef01"
    assert identity.unique == {"mac", "serial-number"}
    assert identity.architecture is not None
