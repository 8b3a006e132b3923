"""Where a problem is to be mended: in the device's own file, or in the configuration that lies over it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Origin:
    """Which of the two files a key comes from."""

    path: Path
    layer: Path | None = None
    remote: dict[str, Any] = field(default_factory=dict)
    merged: dict[str, Any] = field(default_factory=dict)

    def of(self, location: Sequence[int | str]) -> Path:
        """The file to look for the key in: the layer's, if it says anything about this table or this pipeline."""
        if self.layer is None or not location or location[0] not in self.remote:
            return self.path
        if location[0] == "pipelines" and len(location) > 1 and isinstance(location[1], int):
            place, remote = self.merged["pipelines"], self.remote["pipelines"]
            if isinstance(place, list) and isinstance(remote, list) and location[1] < len(place):
                item = place[location[1]]
                name = item.get("name") if isinstance(item, dict) else None
                named = any(isinstance(own, dict) and own.get("name") == name for own in remote)
                return self.layer if named or item in remote else self.path
        return self.layer


def to_location(key: str) -> list[int | str]:
    """`pipelines[3].source.topic` in parts."""
    return [int(part) if part.isdigit() else part for part in key.replace("[", ".").replace("]", "").split(".")]
