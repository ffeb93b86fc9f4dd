"""The shape of an inventory file, for validation and for editors (JSON Schema).

Every description is shown by editors that use ``labctl inventory schema``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from labctl.inventory.fields import (
    Address,
    FilePath,
    HostKey,
    Name,
    Port,
    ProxyJump,
    User,
)

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Settings(_Strict):
    """What ``defaults``, a group and a host can say."""

    user: User | None = Field(None, description="Login user.")
    port: Port | None = Field(None, description="TCP port of sshd.")
    identity_files: list[FilePath] | None = Field(
        None,
        description="Private key files to offer, in this order; relative ones to this file.",
        examples=[["~/.ssh/id_ed25519"]],
    )
    proxy_jump: ProxyJump | None = Field(
        None,
        description="Go through these hosts, [user@]host[:port], separated by ','; "
        "'none' for a direct way. Hosts of this inventory can be named.",
    )
    sudo: bool | None = Field(None, description="Become root through sudo after login.")
    tags: list[Name] | None = Field(
        None, description="Words for selection (@tag); united with those inherited."
    )
    profiles: list[Name] | None = Field(
        None, description="Profiles that 'labctl setup' applies, in order; replace those inherited."
    )
    vars: dict[str, Any] | None = Field(
        None,
        description="Values for the profiles' variables; merged key by key with those inherited.",
    )


class GroupEntry(Settings):
    """Settings for all hosts of a group."""

    parents: list[Name] | None = Field(
        None, description="Groups that this group inherits from, nearest first."
    )


class HostEntry(Settings):
    """A machine reached over SSH.

    What is not said comes from its groups, then from defaults, then from ~/.ssh/config.
    """

    address: Address | None = Field(
        None, description="Host name or address; the name of the entry if not given."
    )
    virtual: Literal["box"] | None = Field(
        None,
        description="A machine of the virtual lab ('labctl lab up'); has no address of its own.",
    )
    gpus: str | None = Field(
        None,
        description="Simulated graphics cards of a virtual machine: a scenario that labctl brings "
        "along (shared, faults) or a file of one, relative to this file.",
    )
    groups: list[Name] | None = Field(
        None, description="Groups of this file, the most important one first."
    )
    slurm_node: Name | None = Field(
        None,
        description="Its name as a node of Slurm, where Slurm does not know it by its host name.",
    )
    host_keys: list[HostKey] | None = Field(
        None,
        description="Public host keys ('type base64') that are the only ones accepted; "
        "known_hosts is used if not given.",
    )


class BoardEntry(_Strict):
    """A development board on a serial line."""

    model: Name = Field(description="Folder name below boards/, such as arduino-uno.")
    line: str | None = Field(
        None, description="Device or URL of the serial line; prefer /dev/serial/by-id/."
    )
    host: Name | None = Field(
        None, description="Host of this file that the board hangs on; this machine if not given."
    )
    identity: dict[str, str] | None = Field(
        None,
        description="What it says of itself and no other board does (serial#, ethaddr, uid, mac); "
        "checked before it is flashed.",
    )
    virtual: bool = Field(False, description="The virtual lab runs this board.")
    tags: list[Name] | None = Field(None, description="Words for selection (@tag).")
    power: dict[str, Any] | None = Field(
        None,
        description="How its power is switched: 'kind' (command, uhubctl, shelly, tasmota, snmp) "
        "and the keys of that kind; by hand if not given.",
    )
    settings: dict[str, Any] | None = Field(
        None, description="Values that override those of the board's model."
    )


class FpgaEntry(_Strict):
    """A folder with FPGA designs and testbenches."""

    path: FilePath = Field(description="The folder; relative to this file.")
    tags: list[Name] | None = Field(None, description="Words for selection (@tag).")


class InventoryFile(_Strict):
    """A lab: its hosts, boards and FPGA projects."""

    model_config = ConfigDict(title="labctl inventory")

    version: Literal[1] = Field(1, description="Version of this format.")
    defaults: Settings | None = Field(None, description="Settings of all hosts.")
    groups: dict[Name, GroupEntry | None] | None = Field(
        None, description="Groups by name; 'fleet' is the group of the virtual lab's light boxes."
    )
    hosts: dict[Name, HostEntry | None] | None = Field(None, description="Hosts by name.")
    boards: dict[Name, BoardEntry] | None = Field(None, description="Boards by name.")
    fpga: dict[Name, FpgaEntry] | None = Field(None, description="FPGA projects by name.")


# The model of one entry of each section that has named entries.
ENTRIES: dict[str, type[BaseModel]] = {
    "groups": GroupEntry,
    "hosts": HostEntry,
    "boards": BoardEntry,
    "fpga": FpgaEntry,
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an inventory file."""
    schema = InventoryFile.model_json_schema()
    for section in ENTRIES:
        for form in schema["properties"][section]["anyOf"]:
            # Otherwise a name that does not fit the pattern could hold anything.
            if "patternProperties" in form:
                form["additionalProperties"] = False
    return {"$schema": SCHEMA_DIALECT, **schema}
