"""The functions of shell that every script of facts may use: the one way to run what may hang.

`within SECONDS COMMAND...` runs a command and returns its status, or 124 (as timeout(1) does) when
the time is up, even where the command hangs in the kernel and cannot be killed, as on a dead NFS
server or a wedged driver. timeout(1) waits for such a command for ever. What is killed there writes
nothing any more when it wakes up, so it cannot write into a later record. The command keeps the
standard input that `within` has (a shell gives what it starts with ``&`` none of its own). The
watchdog ends its own sleep by SIGKILL: another signal is lost between that one's fork and exec.

`part NAME SECONDS COMMAND...` prints the output of a command as a section, `show NAME FILE` that of
a file (`labctl.facts.machine.probe.Sections` reads them).
"""

from __future__ import annotations

PROLOGUE = r"""
within() {
limit=$1; shift
command -v "$1" >/dev/null || return 127
read -r self rest </proc/self/stat
trap : USR1
{ "$@" <&3 3<&- & job=$!; } 3<&0
( trap 'kill -9 $!; exit 0' TERM
sleep "$limit" &
wait $!
kill -9 $job; kill -USR1 $self ) >/dev/null 2>&1 & dog=$!
wait $job 2>/dev/null; rc=$?
{ kill $dog; wait $dog; } 2>/dev/null
case $rc in 137|138) rc=124;; esac
return $rc
}
part() {
what=$1; shift
printf '[%s]\n' "$what"
within "$@"
printf '\n[%s=%s]\n' "$what" $?
}
show() {
printf '[%s]\n' "$1"
rc=127
[ -e "$2" ] && { cat "$2"; rc=$?; [ -r "$2" ] || rc=126; }
printf '\n[%s=%s]\n' "$1" $rc
}
"""
