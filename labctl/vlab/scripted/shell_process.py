"""A real shell on a pseudo-terminal of its own, shut away from the machine that it runs on.

What is typed into a board must not reach the host: a driver sends ``reboot`` or fills ``/tmp``. So
the shell runs in namespaces where the host lets us have them (user_namespaces(7)): its own process
ids, a read-only view of the files, empty ``/tmp``, ``/run`` and ``/dev/shm``. ``reboot`` is then
the kernel's: reboot(2) inside a process namespace ends its first process with SIGHUP, a power-off
with SIGINT (pid_namespaces(7)), and that is how the board learns of it. Elsewhere shell functions
of the same names stand in.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import termios
from pathlib import Path

from labctl.fileio import write_atomic

PROMPT = "scripted:~# "
HOST_NAME = "scripted"
_NAMESPACES = (
    "unshare", "--user", "--map-root-user", "--mount", "--pid", "--uts", "--ipc", "--fork",
    "--kill-child", "--mount-proc", "--",
)  # fmt: skip
# $1: the home folder; the rest: the shell. Everything else becomes read-only, and no disk can be
# opened. The first process stays, as the init that reboot(2) ends.
_INIT = r"""
hostname scripted
while read -r _ place _; do mount -o remount,bind,ro "$place"; done </proc/mounts 2>/dev/null
mount --bind "$1" /root && mount -o remount,bind,rw /root || exit
for place in /tmp /run; do mount -t tmpfs -o mode=1777,size=64m tmpfs $place || exit; done
mkdir /tmp/dev && mount -t tmpfs -o mode=755,size=64m tmpfs /tmp/dev || exit
for device in null zero full random urandom tty; do
    : >/tmp/dev/$device && mount --bind /dev/$device /tmp/dev/$device || exit
done
mkdir -m 1777 /tmp/dev/shm && mkdir /tmp/dev/pts && mount --bind /dev/pts /tmp/dev/pts || exit
ln -s pts/ptmx /tmp/dev/ptmx && ln -s /proc/self/fd /tmp/dev/fd || exit
mount --move /tmp/dev /dev && rmdir /tmp/dev || exit
[ ! -e /proc/sysrq-trigger ] || mount --bind /dev/null /proc/sysrq-trigger || exit
shift
cd && "$@"
exit
"""
# There is no init that could be asked, so all of these are what "reboot -f" is: reboot(2) at once.
_BY_KERNEL = """\
reboot() { busybox reboot -f; }
poweroff() { busybox poweroff -f; }
halt() { busybox poweroff -f; }
"""
# Where there are no namespaces. An interactive shell does not die of SIGINT.
_FUNCTIONS = """\
reboot() { kill -HUP $$; }
poweroff() { kill -ABRT $$; }
halt() { kill -ABRT $$; }
shutdown() { kill -ABRT $$; }
init() { echo "init: not on this board" >&2; return 1; }
"""


@functools.cache
def isolated() -> bool:
    """Tell whether this machine lets us have namespaces with files of their own."""
    try:
        check = subprocess.run(
            [*_NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/tmp"],  # noqa: S108 - in its namespace
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return check.returncode == 0


class ShellProcess:
    """One login.

    Args:
        shell: ``busybox``, ``dash`` or ``bash``; /bin/sh where it is not installed.
        home: Its home folder.
        echo: Whether the terminal echoes (a line editor does so by itself, so there is none then).

    Attributes:
        descriptor: The terminal's end that is ours; non-blocking.
        ended: Becomes readable when the shell has ended (pidfd_open(2)).
    """

    def __init__(self, shell: str, home: Path, *, echo: bool) -> None:
        home.mkdir(exist_ok=True)
        apart = isolated()
        write_atomic(home / ".shrc", _BY_KERNEL if apart else _FUNCTIONS, mode=0o600)
        inside = Path("/root") if apart else home
        startup = inside / ".shrc"
        environment = {
            "ENV": str(startup),
            "HOME": str(inside),
            "LOGNAME": "root",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PS1": r"scripted:\w# " if shell == "busybox" and echo else PROMPT,
            "SHELL": "/bin/sh",
            "TERM": "vt102",
            "USER": "root",
        }
        arguments = _arguments(shell, startup, echo=echo)
        if apart:
            arguments = [*_NAMESPACES, "sh", "-c", _INIT, "init", str(home), *arguments]
        program = shutil.which(arguments[0], path=environment["PATH"]) or "/bin/sh"
        self._pid, self.descriptor = os.forkpty()
        if self._pid == 0:
            _become(program, arguments, environment, home, echo=echo)
        os.set_blocking(self.descriptor, False)
        self.ended = os.pidfd_open(self._pid)
        self._unwritten = bytearray()

    def read(self, limit: int) -> bytes:
        """Return some of its output; empty if there is none now."""
        try:
            return os.read(self.descriptor, limit)
        except OSError:  # nothing there (EAGAIN), or all of its programs have gone (EIO)
            return b""

    def write(self, data: bytes) -> None:
        """Type ``data``; what the terminal cannot take now is kept for the next call."""
        self._unwritten += data
        with contextlib.suppress(OSError):
            while self._unwritten:
                del self._unwritten[: os.write(self.descriptor, self._unwritten)]

    def close(self) -> int:
        """End it and everything it started; return its wait status (os.waitpid)."""
        # The leader first: in namespaces, it takes all others with it.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.ended, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        _end_session(self._pid)
        os.close(self.ended)
        os.close(self.descriptor)
        return status


def _arguments(shell: str, startup: Path, *, echo: bool) -> list[str]:
    if not echo:
        shell = "dash"  # it has no line editor that would echo all the same
    if shell == "busybox" and shutil.which("busybox"):
        return ["busybox", "sh", "-i"]
    if shell == "bash" and shutil.which("bash"):
        return ["bash", "--noprofile", "--rcfile", str(startup), "-i"]
    return ["dash" if shutil.which("dash") else "sh", "-i"]


def _become(
    program: str, arguments: list[str], environment: dict[str, str], home: Path, *, echo: bool
) -> None:
    """Turn this forked child into the shell; never returns."""
    try:
        os.chdir(home)
        if not echo:
            settings = termios.tcgetattr(0)
            settings[3] &= ~termios.ECHO
            termios.tcsetattr(0, termios.TCSANOW, settings)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(program, arguments, environment)  # noqa: S606 - the point of it
    finally:
        os._exit(127)


def _end_session(leader: int) -> None:
    """Kill what is left of the session that ``leader`` led: jobs in the background."""
    # Nothing is missed that is born meanwhile: a round must find nobody.
    for _ in range(100):
        members = [pid for pid in _processes() if _session(pid) == leader]
        if not members:
            return
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _session(pid: int) -> int | None:
    """Return the session of a process that is not a zombie; proc_pid_stat(5), field 6."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[3])
