"""A serial port of a lab host, over SSH, with nothing installed there but a POSIX system.

stty sets the port, two dds carry the bytes. Sources: stty(1), dd(1), flock(1) (util-linux and
busybox alike), proc_pid_fd(5), sh(1p), splice(2).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shlex
import socket
import threading
import time

from labctl.errors import LabctlError, UnreachableError, UsageError
from labctl.report.sanitize import clean_line
from labctl.transport.lines.base import LineBusyError, LineGoneError, UnsupportedError
from labctl.transport.lines.settings import LineSettings, Parity, check_baud, check_parity
from labctl.transport.lines.tcp import SocketLine
from labctl.transport.session import Session, Stream

# $1: a random word, by which we know our own lines among what a .bashrc prints; $2: the name of
# this line, found again in the command line of a script whose connection died without sshd having
# noticed, so that it can be ended; $3: the device; the rest: arguments of stty.
# stty comes before the shell opens the device: stty does not wait for carrier, and sets CLOCAL so
# that the shell does not wait either. sshd runs us as the leader of a session; the subshell is
# none, so the device does not become our controlling terminal, to be hung up when we end.
# dd and not cat: with bs= it passes each piece on at once, by read and write. cat splices where it
# can (busybox's, new ones of coreutils), and a splice from a silent terminal into a pipe holds the
# pipe's lock: whoever reads the pipe, here sshd, then sleeps and cannot even be killed.
_SCRIPT = r"""
word=$1 name=$2 dev=$3 me=; shift 3
say() { echo "$word $*"; }
[ -e "$dev" ] || { say missing $(ls /dev/ttyUSB* /dev/ttyACM* /dev/ttyAMA* 2> /dev/null); exit; }
[ -c "$dev" ] || { say notatty; exit; }
real=$(readlink -f "$dev")
group() { ls -lL "$real" | { read -r _ _ _ group _; echo "$group"; }; }
[ -r "$real" ] && [ -w "$real" ] || { say permission "$(id -un)" "$(group)"; exit; }
holder() {
  ls -l /proc/[0-9]*/fd 2> /dev/null | while read -r a b; do
    case $a in /proc/*) pid=${a#/proc/}; pid=${pid%%/*};; esac
    case $b in *" -> $real") case " $$ $me " in *" $pid "*) ;; *)
      echo "$pid" "$(cat "/proc/$pid/comm" 2> /dev/null)"; break;; esac;; esac
  done
}
for old in $(grep -l -e "[l]abctl-line-$name" /proc/[0-9]*/cmdline 2> /dev/null); do
  old=${old#/proc/}; old=${old%/*}
  [ "$old" = $$ ] || { kill "$old" && for i in 1 2 3 4 5 6 7 8 9 10; do
    [ -e "/proc/$old" ] && sleep 0.1; done; } 2> /dev/null
done
case $real in /dev/pts/*) ;; *) held=$(holder); [ -z "$held" ] || { say busy $held; exit; };; esac
error=$(stty -F "$real" raw -echo -iexten clocal -hupcl "$@" 2>&1) || { say stty "$error"; exit; }
trap 'trap "" TERM; kill -s TERM 0' TERM
(
  exec 8<&0 9<> "$real"
  if command -v flock > /dev/null; then
    flock -n 9 || { me=$(exec sh -c 'echo $PPID'); say busy $(exec 9>&-; holder); exit 0; }
  fi
  say ready
  exec 2> /dev/null < /dev/null
  dd bs=4096 <&9 8<&- & reader=$!
  { dd bs=4096 <&8 >&9; kill $reader; } > /dev/null & writer=$!
  exec 8<&- 9>&-
  wait $reader
  kill $writer
  exit 0
) || say gone
exit
"""

# A break is a low line for longer than a character. A NUL at a rate r holds it low for 9 bits: the
# start bit and eight zeros. $1: device, $2: that rate, $3: the usual one. stty waits until the
# output has left.
_BREAK = 'stty -F "$1" "$2" && printf "\\0" > "$1" && stty -F "$1" "$3"'
_BREAK_RATES = (38400, 19200, 9600, 4800, 2400, 1200, 600, 300)
_BREAK_BITS = 9
_RATE = 'stty -F "$1" "$2"'
_FORMAT = 'stty -F "$1" "$2" "$3"'
_PARITY = {
    "none": ("-parenb", "-parodd"), "even": ("parenb", "-parodd"), "odd": ("parenb", "parodd"),
}  # fmt: skip

_CHANGE_S = 10.0
_NOISE_BYTES = 256 * 1024
_PIECE_BYTES = 1 << 16
# What the kernel holds for us on the way to SSH has been counted as sent: little of it.
_SEND_BUFFER = 8192
_POLL_S = 1.0


class SshLine(SocketLine):
    """A port of another host; made by `open_ssh`.

    Two threads carry bytes between the SSH channel and a socket pair, so that the owner has one
    descriptor to poll, and waits neither for SSH's window nor for a change of its keys.
    """

    def __init__(
        self, url: str, device: str, baud: int, session: Session, stream: Stream, early: bytes
    ) -> None:
        ours, self._theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        super().__init__(url, ours)
        self._device = device
        self._baud = baud
        self._session = session
        self._stream = stream
        self._cause = ""
        for target in (lambda: self._carry_in(early), self._carry_out):
            threading.Thread(target=target, daemon=True).start()

    def close(self) -> None:
        """Give the port back: the script at the other end ends with its input."""
        super().close()
        with contextlib.suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        self._session.close()

    def send_break(self, seconds: float) -> None:
        """Send a NUL at so low a rate that it is a break of about ``seconds``, at most 30 ms.

        What the board says at that moment is read at that rate and lost.
        """
        rates = [rate for rate in _BREAK_RATES if _BREAK_BITS / rate >= seconds]
        rate = rates[0] if rates else _BREAK_RATES[-1]
        self._change(_BREAK, "a break", rate, self._baud)

    def set_baud(self, rate: int) -> None:
        """Change the rate."""
        check_baud(rate)
        self._change(_RATE, f"setting {rate} baud", rate)
        self._baud = rate

    def set_parity(self, parity: Parity) -> None:
        """Change the parity."""
        check_parity(parity)
        self._change(_FORMAT, f"setting parity {parity}", *_PARITY[parity])

    def _change(self, script: str, what: str, *words: object) -> None:
        command = shlex.join(["sh", "-c", script, "sh", self._device, *map(str, words)])
        stream = self._session.start(f"exec {command}")
        said = b""
        end = time.monotonic() + _CHANGE_S
        try:
            stream.send_eof()
            while data := stream.receive(max(end - time.monotonic(), 0.01)):
                said = (said + data)[-_NOISE_BYTES:]
            status = stream.exit_status(max(end - time.monotonic(), 0.01))
        except TimeoutError:
            raise UnsupportedError(f"{what} failed: no answer", thing=self.url) from None
        finally:
            stream.close()
        if status != 0:
            reason = clean_line(said[-500:]) or f"exit status {status}"
            raise UnsupportedError(f"{what} failed: {reason}", thing=self.url)

    def _carry_in(self, early: bytes) -> None:
        """Carry what the board says to us, until the port or the connection goes."""
        try:
            if early:
                self._theirs.sendall(early)
            while True:
                with contextlib.suppress(TimeoutError):
                    data = self._stream.receive(_POLL_S)
                    if not data:
                        self._cause = "the port, or the SSH connection to it, is gone"
                        break
                    self._theirs.sendall(data)
        except (OSError, LabctlError, EOFError) as error:
            self._cause = clean_line(str(error))
        with contextlib.suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RDWR)

    def _carry_out(self) -> None:
        """Carry what we send to the board."""
        with contextlib.suppress(OSError, LabctlError, EOFError):
            while data := self._theirs.recv(_PIECE_BYTES):
                self._stream.send(data)

    def _gone(self, cause: str) -> LineGoneError:
        return LineGoneError(
            self._cause or cause, thing=self.url, action="look at the host and at its adapter"
        )


def open_ssh(
    url: str, device: str, settings: LineSettings, session: Session, *, deadline_s: float
) -> SshLine:
    """Open a port of the host that ``session`` leads to; the line closes the session.

    Raises:
        LineBusyError: Another program there holds it; the message names the program.
        UnreachableError: It is not there, or the host did not answer within ``deadline_s``.
        UnsupportedError: Its driver refuses the settings.
        LabctlError: The login user may not use it.
    """
    word = secrets.token_hex(12)
    owner = f"{socket.gethostname()}:{os.getuid()}:{url}"
    name = hashlib.sha256(owner.encode(errors="surrogateescape")).hexdigest()[:16]
    marked = [f"labctl-line-{name}", word, name, device, *stty_arguments(settings)]
    arguments = ["sh", "-c", _SCRIPT, *marked]
    try:
        stream = session.start(f"exec {shlex.join(arguments)}")
        try:
            answer, early = _first_line(stream, word.encode(), deadline_s, url)
            if answer[:1] != ["ready"]:
                raise _explain(answer, url, device, session.name)
        except BaseException:
            stream.close()
            raise
    except BaseException:
        session.close()
        raise
    return SshLine(url, device, settings.baud, session, stream, early)


def stty_arguments(settings: LineSettings) -> list[str]:
    """Return what stty(1) is told for ``settings``.

    Raises:
        UnsupportedError: stty cannot do it: 1.5 stop bits, DTR and RTS by hand.
    """
    if settings.dtr is not None or settings.rts is not None:
        raise UnsupportedError("DTR and RTS of another host's port cannot be set")
    if settings.stop_bits == 1.5 and settings.data_bits != 5:
        raise UnsupportedError("UARTs send 1.5 stop bits with 5 data bits only")

    def switch(name: str, on: bool) -> str:
        return name if on else f"-{name}"

    return [
        str(settings.baud),
        f"cs{settings.data_bits}",
        switch("cstopb", settings.stop_bits > 1),
        switch("parenb", settings.parity != "none"),
        switch("parodd", settings.parity == "odd"),
        switch("crtscts", settings.flow == "rtscts"),
        switch("ixon", settings.flow == "xonxoff"),
        switch("ixoff", settings.flow == "xonxoff"),
    ]


def _first_line(
    stream: Stream, word: bytes, deadline_s: float, url: str
) -> tuple[list[str], bytes]:
    """Return the words of the script's first line, and what came behind it."""
    seen = b""
    end = time.monotonic() + deadline_s
    try:
        while True:
            data = stream.receive(max(end - time.monotonic(), 0.01))
            seen = (seen + data)[-_NOISE_BYTES:]
            _, found, behind = seen.partition(word + b" ")
            line, newline, early = behind.partition(b"\n")
            if found and newline:
                return clean_line(line).split(), early
            if not data:
                raise UnreachableError(
                    f"the host ran no shell for us: {clean_line(seen[-500:]) or 'no reason given'}",
                    thing=url,
                    action="log in there and try 'stty --version'",
                )
    except TimeoutError:
        raise UnreachableError(f"no answer within {deadline_s:g} s", thing=url) from None


def _explain(answer: list[str], url: str, device: str, host: str) -> LabctlError:
    """Return what the script's ``answer`` means."""
    kind, rest = answer[0] if answer else "", answer[1:]
    if kind == "missing":
        there = f"ports there: {', '.join(rest)}" if rest else "no USB serial port is plugged in"
        return UnreachableError(f"there is no such port on {host}", thing=url, action=there)
    if kind == "notatty":
        return UsageError(f"not a serial port of {host}", thing=url, action="correct the line")
    if kind == "permission" and len(rest) == 2:
        return LabctlError(
            f"user {rest[0]} may not use {device} on {host}",
            thing=url,
            action=f"run there: sudo adduser {rest[0]} {rest[1]}",
        )
    if kind == "busy":
        who = f"{' '.join(rest[1:])} (pid {rest[0]})" if rest else "a program of another user"
        return LineBusyError(
            f"{who} on {host} holds the port", thing=url, action="end it, or wait for it"
        )
    if kind == "stty":
        return UnsupportedError(f"{host} cannot set the port: {' '.join(rest)}", thing=url)
    return UnreachableError(f"the port of {host} is gone", thing=url, action="plug it in again")
