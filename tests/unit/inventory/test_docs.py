"""The example in docs/inventory.md is a valid inventory and means what the page says."""

import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import yaml

from labctl.inventory.model import Inventory
from labctl.inventory.schema import BoardEntry, FpgaEntry, GroupEntry, HostEntry, json_schema

PAGE = (Path(__file__).parents[3] / "docs" / "inventory.md").read_text()


def test_example_loads(load: Callable[[str], Inventory]) -> None:
    (example,) = re.findall(r"```yaml\n(version: 1\n.*?)```", PAGE, re.DOTALL)
    lab = load(example)
    gpu = lab.hosts["gpu1"]
    assert (gpu.user, gpu.proxy_jump, gpu.sudo) == ("lab", "gate", True)
    assert gpu.profiles == ("base", "gpu")
    assert gpu.vars == {"timezone": "Europe/Berlin", "rack": 3}
    jsonschema.validate(yaml.safe_load(example), json_schema())


def test_every_key_is_described() -> None:
    for model in (GroupEntry, HostEntry, BoardEntry, FpgaEntry):
        for key in model.model_fields:
            assert f"`{key}`" in PAGE or f"`{key}:" in PAGE, key
