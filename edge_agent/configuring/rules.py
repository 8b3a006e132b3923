"""What a configuration that travels may set, how it is laid over the device's own file, and what a change of it costs.

One table, `RULES`: the longest matching path decides about a key. `*` stands for any name. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

Table = dict[str, Any]


class Owner(StrEnum):
    """Whose word about a key holds."""

    REMOTE = "remote"
    """The configuration that travels may set it, and then wins over the device's own file."""
    LOCAL = "local"
    """Only the device's own file and its environment may."""


class Rule(NamedTuple):
    """About all keys at and below `path`."""

    path: str
    owner: Owner
    why: str
    live: bool = False
    """A change takes effect without a restart."""


RULES: Final = (
    Rule("device", Owner.LOCAL, "who the device is"),
    Rule("state_dir", Owner.LOCAL, "where its state lies"),
    Rule("control_socket", Owner.LOCAL, "where local commands reach it"),
    Rule("log_level", Owner.REMOTE, "how much is logged", live=True),
    Rule("log_json", Owner.LOCAL, "what the device's own log collector reads"),
    Rule("qos0_buffer", Owner.LOCAL, "memory of this board"),
    Rule("mqtt", Owner.LOCAL, "how the controller is reached: a mistake could not be taken back"),
    Rule("site", Owner.LOCAL, "addresses and credentials of the site broker"),
    Rule("store", Owner.LOCAL, "bounds of this device's disk"),
    Rule("inference", Owner.REMOTE, "how models are run"),
    Rule("inference.python", Owner.LOCAL, "names a program"),
    Rule("inference.engine_cache", Owner.LOCAL, "names a folder"),
    Rule("inference.memory_bytes", Owner.LOCAL, "a wall of the workers' sandbox"),
    Rule("inference.models.*.memory_bytes", Owner.LOCAL, "a wall of the worker's sandbox"),
    Rule("inference.models.*.delegates", Owner.LOCAL, "may name a library"),
    Rule("updates", Owner.REMOTE, "how updates are tried"),
    Rule("updates.url", Owner.LOCAL, "where updates come from"),
    Rule("updates.token_file", Owner.LOCAL, "a credential"),
    Rule("updates.root_file", Owner.LOCAL, "what is trusted first"),
    Rule("updates.ca_file", Owner.LOCAL, "what is trusted"),
    Rule("updates.max_bundle_bytes", Owner.LOCAL, "a bound of this device's disk"),
    Rule("updates.configuration", Owner.LOCAL, "how long a configuration is watched: it may not end its own probation"),
    Rule("health", Owner.REMOTE, "how often health is reported"),
    Rule("pipelines", Owner.REMOTE, "what is done with events"),
)

WHOLE: Final = frozenset({"source", "window", "join"})
"""Tables of a pipeline that are taken whole, because their keys only have a meaning together."""

_BY_PATH: Final = {tuple(rule.path.split(".")): rule for rule in RULES}
_UNKNOWN: Final = Rule("", Owner.LOCAL, "no key of the agent")


def rule_of(path: Sequence[str]) -> Rule:
    """The rule about one key, by its path from the top."""
    for length in range(len(path), 0, -1):
        for known, rule in _BY_PATH.items():
            if len(known) == length and all(part in ("*", own) for part, own in zip(known, path[:length], strict=True)):
                return rule
    return _UNKNOWN


def find_forbidden(remote: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    """The paths of all keys in `remote` that it may not set."""
    for key, value in remote.items():
        here = (*path, key)
        if here == ("pipelines",):
            continue
        if isinstance(value, dict) and value:
            yield from find_forbidden(value, here)
        elif rule_of(here).owner is Owner.LOCAL:
            yield here


def merge(local: Mapping[str, Any], remote: Mapping[str, Any]) -> Table:
    """`remote` over `local`: tables key by key, everything else whole; pipelines by name. Neither is changed."""
    merged = _merge(local, {key: value for key, value in remote.items() if key != "pipelines"})
    if "pipelines" in remote:
        merged["pipelines"] = _merge_pipelines(local.get("pipelines"), remote["pipelines"])
    return merged


def _merge(local: Mapping[str, Any], remote: Mapping[str, Any], whole: frozenset[str] = frozenset()) -> Table:
    merged = dict(local)
    for key, value in remote.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(below, value) if both and key not in whole else value  # type: ignore[arg-type]
    return merged


def _merge_pipelines(local: Any, remote: Any) -> Any:
    if not isinstance(remote, list):
        return remote
    own = local if isinstance(local, list) else []
    over = {item["name"]: item for item in remote if _is_named(item)}
    merged = [_merge(item, over.pop(item["name"]), WHOLE) if _is_named(item) and item["name"] in over else item for item in own]
    merged += [item for item in remote if not _is_named(item) or over.get(item["name"]) is item]
    # a second one of the same name, which the check of the whole refuses
    known = {item["name"]: item for item in remote if _is_named(item)}
    return merged + [item for item in remote if _is_named(item) and known[item["name"]] is not item]


def _is_named(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between two whole settings in plain values: `log_level`, `inference.threads`, `pipelines.frost`."""
    changed = set()
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if key == "pipelines":
            old = {item["name"]: item for item in old or ()}
            new = {item["name"]: item for item in new or ()}
        if isinstance(old, dict) and isinstance(new, dict):
            changed |= {f"{key}.{name}" for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
            if not any(old.get(name) != new.get(name) for name in old.keys() | new.keys()):
                changed.add(key)  # the same pipelines in another order, which is the order of their results
        else:
            changed.add(key)
    return tuple(sorted(changed))


def needs_restart(changed: Iterable[str]) -> tuple[str, ...]:
    """Those of the changed keys that a running agent does not take over."""
    return tuple(key for key in changed if not rule_of(key.split(".")).live)
