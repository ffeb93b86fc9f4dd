"""The floor of `setup_noop.py`: the least that a Python program can do to ask hosts something.

One paramiko connection and one ``sh -s`` for each host, all at once on threads; the answer is read
to its end and thrown away. No inventory, no plan, no journal, no message. Run as a process of its
own: ``python floor.py JOB`` where JOB is a JSON file ``{"script": text, "hosts": [{"address",
"port", "user", "key", "host_keys"}]}``. Host keys are verified: leaving that out would not be the
same job.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import paramiko

DEADLINE_S = 120.0


def ask(host: dict[str, Any], key: paramiko.PKey, script: bytes) -> int:
    """Connect to ``host``, run ``script``, and return its exit status."""
    name = host["address"] if host["port"] == 22 else f"[{host['address']}]:{host['port']}"
    with paramiko.SSHClient() as client:
        for line in host["host_keys"]:
            kind, blob = line.split()[:2]
            known = paramiko.PKey.from_type_string(kind, base64.b64decode(blob))
            client.get_host_keys().add(name, kind, known)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            host["address"],
            host["port"],
            host["user"],
            pkey=key,
            allow_agent=False,
            look_for_keys=False,
            timeout=DEADLINE_S,
        )
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=DEADLINE_S)
        channel.settimeout(DEADLINE_S)
        channel.set_combine_stderr(True)
        channel.exec_command("exec sh -s")
        channel.sendall(script)
        channel.shutdown_write()
        while channel.recv(65536):
            pass
        return channel.recv_exit_status()


def main() -> int:
    """Ask all hosts of the job at once; fail if one does."""
    job = json.loads(Path(sys.argv[1]).read_text())
    script = job["script"].encode()
    keys = {host["key"]: paramiko.PKey.from_path(host["key"]) for host in job["hosts"]}
    codes: list[int] = []
    threads = [
        Thread(target=lambda host=host: codes.append(ask(host, keys[host["key"]], script)))
        for host in job["hosts"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0 if codes == [0] * len(threads) else 1


if __name__ == "__main__":
    sys.exit(main())
