"""Writing `model.toml`: the reverse of `fleet_contract.manifest.parse_manifest`."""

import json
import re
from typing import Any, Final

import msgspec

from fleet_contract.manifest import Manifest


def manifest_toml(manifest: Manifest) -> str:
    """The manifest as TOML, without what is at its default."""
    defaults = msgspec.to_builtins(Manifest(**_REQUIRED))
    table = {key: value for key, value in msgspec.to_builtins(manifest).items() if key in _REQUIRED or value != defaults[key]}
    return "".join(f"{key} = {_toml(_less(value, defaults[key]))}\n" for key, value in table.items() if value is not None)


def _less(value: Any, default: Any) -> Any:
    """A record without what is at its default."""
    if not isinstance(value, dict) or not isinstance(default, dict):
        return value
    return {key: item for key, item in value.items() if key not in default or item != default[key]}


_REQUIRED: Final[dict[str, Any]] = {
    "schema": 0,
    "name": "",
    "version": "",
    "task": "",
    "runtime": "onnx",
    "file": "",
    "golden": "",
    "kind": "window",
    "features": (),
    "input_tensor": None,
    "output_tensor": None,
    "licence": "",
}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = [f"{_key(key)} = {_toml(item)}" for key, item in value.items() if item is not None and item != {}]
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        items = [_toml(item) for item in value]
        flat = "[" + ", ".join(items) + "]"
        return flat if len(flat) <= 110 else "[\n" + "".join(f"  {item},\n" for item in items) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
