"""An outlet of a PDU that speaks SNMP version 1 or 2c.

Through pysnmp and not through net-snmp's snmpset, because that takes the community, which is the
password here, on its command line, where everybody on the machine can read it. Version 3 is left to
``kind: command``.

Sources: RFC 1157, RFC 3416 (a value is set by its object identifier), and the vendors' MIBs:
PowerNet-MIB (APC): sPDUOutletCtl, rPDUOutletControlOutletCommand with rPDUOutletStatusOutletState,
rPDU2OutletSwitchedControlCommand with rPDU2OutletSwitchedStatusState; PDU2-MIB (Raritan):
switchingOperation with outletSwitchingState.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.boards.keys import Key, read_secret
from labctl.errors import DependencyError, LabctlError, UnreachableError
from labctl.report.sanitize import clean_line

_OID = r"\.?\d+(?:\.\d+){2,127}"
_APC = "1.3.6.1.4.1.318.1.1"
# Requests are sent so many times in all: UDP may lose them.
_TRIES = 3
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Outlet:
    """How one outlet is switched and read.

    Attributes:
        oid: Integer that switches it.
        on: Its value for on.
        off: Its value for off.
        status_oid: Integer that tells its state.
        status_on: Its value when on.
        status_off: Its value when off.
    """

    oid: str
    on: int
    off: int
    status_oid: str
    status_on: int
    status_off: int

    def numbered(self, number: int) -> Outlet:
        """Return the outlet ``number`` of the tables of which this one is the columns."""
        return Outlet(
            f"{self.oid}.{number}", self.on, self.off,
            f"{self.status_oid}.{number}", self.status_on, self.status_off,
        )  # fmt: skip


# Columns of the tables of common PDUs.
MODELS: Mapping[str, Outlet] = {
    "apc-masterswitch": Outlet(f"{_APC}.4.4.2.1.3", 1, 2, f"{_APC}.4.4.2.1.3", 1, 2),
    "apc-rpdu": Outlet(f"{_APC}.12.3.3.1.1.4", 1, 2, f"{_APC}.12.3.5.1.1.4", 1, 2),
    # Off is 2 in its commands and 1 in its states.
    "apc-rpdu2": Outlet(f"{_APC}.26.9.2.4.1.5", 1, 2, f"{_APC}.26.9.2.3.1.5", 2, 1),
    # The first of a chain of PDUs.
    "raritan-px2": Outlet(
        "1.3.6.1.4.1.13742.6.4.1.2.1.2.1", 1, 0, "1.3.6.1.4.1.13742.6.4.1.2.1.3.1", 7, 8
    ),
}

KEYS: Mapping[str, Key] = {
    "host": Key(str, "Host name or address.", needed=True, pattern=r"[A-Za-z0-9_.:-]{1,253}"),
    "community_file": Key(Path, "File with the community that may write.", needed=True),
    "port": Key(int, "UDP port; 161 if not given.", least=1),
    "version": Key(int, "1, or 2 for 2c, which is the default.", choices=(1, 2)),
    "pdu": Key(str, "Kind of PDU, with 'outlet'; otherwise 'oid'.", choices=tuple(MODELS)),
    "outlet": Key(int, "Number of the outlet of a 'pdu'.", least=1),
    "oid": Key(str, "Integer that switches it, in dots and digits.", pattern=_OID),
    "on": Key(int, "Value of 'oid' for on; 1 if not given."),
    "off": Key(int, "Value of 'oid' for off; 2 if not given."),
    "status_oid": Key(str, "Integer that tells its state; 'oid' if not given.", pattern=_OID),
    "status_on": Key(int, "Value of 'status_oid' when on; 'on' if not given."),
    "status_off": Key(int, "Value of 'status_oid' when off; 'off' if not given."),
}
_OWN = ("oid", "on", "off", "status_oid", "status_on", "status_off")


def check(config: Mapping[str, object]) -> list[str]:
    """Return what is wrong with keys that fit one by one."""
    if ("pdu" in config) == ("oid" in config):
        return ["say either 'pdu' and 'outlet', or 'oid'"]
    if ("pdu" in config) != ("outlet" in config):
        return ["'pdu' and 'outlet' belong together"]
    extra = [f"'{name}'" for name in _OWN if name in config and "pdu" in config]
    return [f"{', '.join(extra)} come from 'pdu'; remove them"] if extra else []


def get(config: Mapping[str, object], *, deadline_s: float) -> bool | None:
    """Ask the PDU; waits while the outlet is on its way from one state to the other."""
    outlet = _outlet(config)
    end = time.monotonic() + deadline_s
    known = {outlet.status_on: True, outlet.status_off: False}
    while (value := _exchange(config, outlet.status_oid, None, deadline_s)) not in known:
        if time.monotonic() > end:
            raise LabctlError(
                f"{config['host']} says {value} of {outlet.status_oid}, neither on nor off",
                action="check the kind of PDU, or 'status_on' and 'status_off'",
            )
        time.sleep(_LOOK_EVERY_S)
    return known[value]


def set(config: Mapping[str, object], on: bool, *, deadline_s: float) -> None:
    """Tell the PDU."""
    outlet = _outlet(config)
    _exchange(config, outlet.oid, outlet.on if on else outlet.off, deadline_s)


def _outlet(config: Mapping[str, Any]) -> Outlet:
    if "pdu" in config:
        return MODELS[config["pdu"]].numbered(config["outlet"])
    oid = config["oid"].lstrip(".")
    on, off = config.get("on", 1), config.get("off", 2)
    return Outlet(
        oid, on, off,
        config.get("status_oid", oid).lstrip("."),
        config.get("status_on", on), config.get("status_off", off),
    )  # fmt: skip


def _exchange(config: Mapping[str, Any], oid: str, value: int | None, deadline_s: float) -> int:
    """Set ``oid`` to ``value``, or only read it, and return what the PDU then says it is."""
    host, port = config["host"], config.get("port", 161)
    community = read_secret(config, "community_file")
    # The library ends by itself a little before we would end it.
    try_s = 0.8 * deadline_s / _TRIES
    request = _request(host, port, community, config.get("version", 2), oid, value, try_s)
    try:
        trouble, status, found = asyncio.run(asyncio.wait_for(request, deadline_s))
    except TimeoutError:
        trouble, status, found = "no answer", "", None
    if trouble:
        raise UnreachableError(
            f"{host} port {port} does not answer SNMP: {clean_line(trouble)}",
            action="check its address and the community: a PDU does not answer a wrong one",
        )
    if status or found is None:
        raise LabctlError(
            f"{host} refuses {oid}: {clean_line(status) or 'it has no such integer'}",
            action="check the kind of PDU, the outlet, and that the community may write",
        )
    return found


async def _request(
    host: str, port: int, community: str, version: int, oid: str, value: int | None, try_s: float
) -> tuple[str, str, int | None]:
    """Return the trouble with the transport, the PDU's complaint, and the value."""
    try:
        from pyasn1.type.univ import Integer  # noqa: PLC0415 - slow, and an extra
        from pysnmp.error import PySnmpError  # noqa: PLC0415
        from pysnmp.hlapi.v1arch import asyncio as snmp  # noqa: PLC0415
    except ModuleNotFoundError:
        raise DependencyError(
            "pysnmp is not installed", action="pip install 'labctl-suite[snmp]'"
        ) from None
    kind = snmp.Udp6TransportTarget if ":" in host else snmp.UdpTransportTarget
    try:
        target = await kind.create((host, port), timeout=try_s, retries=_TRIES - 1)
    except PySnmpError as error:
        return str(error), "", None
    dispatcher = snmp.SnmpDispatcher()
    who = snmp.CommunityData(community, mpModel=version - 1)
    try:
        if value is None:
            answer = await snmp.get_cmd(dispatcher, who, target, (oid, snmp.Null("")))
        else:
            answer = await snmp.set_cmd(dispatcher, who, target, (oid, snmp.Integer32(value)))
    finally:
        # Its own close() trips over a request that was given up (pysnmp 7.1).
        dispatcher.transport_dispatcher.close_dispatcher()
    trouble, status, _, bindings = answer
    if trouble:
        return str(trouble), "", None
    if status:
        return "", status.prettyPrint(), None
    found = bindings[0][1]
    return "", "", int(found) if isinstance(found, Integer) else None
