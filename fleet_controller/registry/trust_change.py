"""The rules of changing keys, without I/O: what the operator signs, and what the service accepts.

    root (2 of 3 keys, offline) ─▶ targets (offline) ─▶ models (the release key, offline)
                                                   ─▶ config (online)
                                ─▶ snapshot, timestamp (online)

A change is one new version of each document that it touches. The owner of a role's keys is the document above it: root for the
four top-level roles, targets for `models` and `config`. What a new key has to sign from now on is signed anew in that change.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import DelegatedRole, Metadata, Root, Snapshot, Targets, Timestamp

from fleet_contract.configuration import CONFIG_ROLE
from fleet_contract.trust import MODELS_ROLE
from fleet_controller.registry.publication import PublicationError, check_following, floors_of, following_models

ROOT_THRESHOLD: Final = 2
ROOT_LIFETIME: Final = timedelta(days=3 * 365)
TARGETS_LIFETIME: Final = timedelta(days=3 * 365)
MODELS_PATHS: Final = ("models/*/*",)
CONFIG_PATHS: Final = ("config/*/*",)
ROLES: Final = (Root.type, Targets.type, MODELS_ROLE, CONFIG_ROLE, Snapshot.type, Timestamp.type)
ONLINE: Final = (CONFIG_ROLE, Snapshot.type, Timestamp.type)
DELEGATED: Final = {MODELS_ROLE: MODELS_PATHS, CONFIG_ROLE: CONFIG_PATHS}
"""The roles that targets delegates to, each with the paths that it may name. A repository of an earlier release of ours has no
`config` yet: `fleet keys rotate config` gives it one."""

_T = TypeVar("_T", Root, Targets)


@dataclass(frozen=True, slots=True)
class TrustState:
    """The documents that offline keys sign."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    models: Metadata[Targets]

    def key_ids(self, role: str) -> list[str]:
        """The keys that may sign for a role now; none for `config` where targets does not delegate to it."""
        if role in DELEGATED:
            delegated = _roles(self.targets.signed).get(role)
            return [] if delegated is None else list(delegated.keyids)
        return list(self.root.signed.roles[role].keyids)

    def keys(self, role: str) -> list[Key]:
        """The same with their public halves."""
        delegations = self.targets.signed.delegations
        known = delegations.keys if role in DELEGATED and delegations is not None else self.root.signed.keys
        return [known[key_id] for key_id in self.key_ids(role)]

    def threshold(self, role: str) -> int:
        """How many of the keys have to sign."""
        roles = self.root.signed.roles
        return roles[role].threshold if role in roles else 1


@dataclass(slots=True)
class TrustChange:
    """New versions of some of the documents; None where nothing changes."""

    root: Metadata[Root] | None = None
    targets: Metadata[Targets] | None = None
    models: Metadata[Targets] | None = None

    def after(self, state: TrustState) -> TrustState:
        """The documents that hold once the change is in force."""
        return TrustState(self.root or state.root, self.targets or state.targets, self.models or state.models)


def propose(state: TrustState, role: str, *, remove: Collection[str], add: Sequence[Key], now: datetime) -> TrustChange:
    """The unsigned change that takes the keys `remove` (ids) from `role` and gives it those of `add`.

    With neither it renews the expiry date of what the role signs. Raises PublicationError naming what is wrong.
    """
    for key_id in remove:
        if key_id not in state.key_ids(role):
            raise PublicationError(f"key {key_id} does not sign for {role}; `fleet keys list` shows those that do")
    for key in add:
        if key.keyid in state.key_ids(role):
            raise PublicationError(f"key {key.keyid} signs for {role} already")
    change = TrustChange()
    if role in DELEGATED:
        if remove or add:
            change.targets = _next_targets(state.targets, now)
            delegate(change.targets.signed, role, remove=remove, add=add)
        if role == MODELS_ROLE:
            change.models = following_models(state.models, now)
        return change
    if role == Root.type or remove or add:
        change.root = _following(state.root)
        change.root.signed.expires = now.replace(microsecond=0) + ROOT_LIFETIME
        for key_id in remove:
            change.root.signed.revoke_key(key_id, role)
        for key in add:
            change.root.signed.add_key(key, role)
        left = change.root.signed.roles[role]
        if len(left.keyids) < left.threshold:
            raise PublicationError(f"{role} would have {len(left.keyids)} keys and needs {left.threshold}: rotate instead")
    if role == Targets.type:
        change.targets = _next_targets(state.targets, now)
    return change


def delegate(targets: Targets, role: str, *, remove: Collection[str] = (), add: Sequence[Key] = ()) -> None:
    """Change the keys of a delegated role, which is added where it is missing. Raises PublicationError."""
    delegations = targets.delegations
    if delegations is None or delegations.roles is None:
        raise PublicationError("the targets metadata delegates to nobody")
    if role not in delegations.roles:
        delegations.roles[role] = DelegatedRole(role, [], 1, True, paths=list(DELEGATED[role]))
    for key_id in remove:
        targets.revoke_key(key_id, role)
    for key in add:
        targets.add_key(key, role)


def sign(state: TrustState, change: TrustChange, signers: Sequence[Signer]) -> None:
    """Sign each new document with those of `signers` that may sign it."""
    after = change.after(state)
    root_keys = {*state.key_ids(Root.type), *after.key_ids(Root.type)}
    for metadata, allowed in (
        (change.root, root_keys),
        (change.targets, set(after.key_ids(Targets.type))),
        (change.models, set(after.key_ids(MODELS_ROLE))),
    ):
        if metadata is not None:
            for signer in signers:
                if signer.public_key.keyid in allowed:
                    metadata.sign(signer, append=True)


def check_change(state: TrustState, change: TrustChange, online: Collection[str], now: datetime) -> TrustState:
    """Judge a signed change; returns the documents that hold afterwards. `online` are the ids of keys that the service holds.

    Raises PublicationError naming the rule that is broken.
    """
    after = change.after(state)
    if change == TrustChange():
        raise PublicationError("nothing is changed")
    if change.root is not None:
        _check_root(state.root, change.root, online, now)
    if change.targets is not None:
        _check_version("targets", state.targets, change.targets, now)
        _check_targets(change.targets.signed)
        new = set(after.key_ids(CONFIG_ROLE)) - set(state.key_ids(CONFIG_ROLE))
        if new and not set(after.key_ids(CONFIG_ROLE)) & set(online):
            raise PublicationError("the service does not hold the new config key: make it in its folder of online keys first")
    _check_signatures(after.root, Targets.type, after.targets)
    if change.models is not None:
        check_following(after.targets.signed, state.models, change.models, now)
        if len(change.models.signed.targets) != len(state.models.signed.targets):
            raise PublicationError("a change of keys adds no release")
        if floors_of(change.models.signed) != floors_of(state.models.signed):
            raise PublicationError("a change of keys moves no floor")
    try:
        after.targets.signed.verify_delegate(MODELS_ROLE, after.models.signed_bytes, after.models.signatures)
    except UnsignedMetadataError as error:
        raise PublicationError("the releases are not signed with a release key that is in force after the change") from error
    return after


def _check_root(current: Metadata[Root], proposed: Metadata[Root], online: Collection[str], now: datetime) -> None:
    _check_version("root", current, proposed, now)
    # Both, so that a device that trusts the old root takes the new one, and one that begins with the new root does too.
    _check_signatures(current, Root.type, proposed)
    _check_signatures(proposed, Root.type, proposed)
    if proposed.signed.roles[Root.type].threshold < ROOT_THRESHOLD:
        raise PublicationError(f"root: the threshold may not sink below {ROOT_THRESHOLD}")
    if not proposed.signed.consistent_snapshot:
        raise PublicationError("root: consistent snapshots must stay on")
    for role in (Snapshot.type, Timestamp.type):
        if not set(proposed.signed.roles[role].keyids) & set(online):
            raise PublicationError(f"the service does not hold the new {role} key: make it in its folder of online keys first")


def _check_targets(targets: Targets) -> None:
    roles = _roles(targets)
    if targets.targets:
        raise PublicationError("targets: it delegates and names no files itself")
    for name, role in roles.items():
        if role.threshold != 1 or not role.terminating or tuple(role.paths or ()) != DELEGATED[name]:
            raise PublicationError(f"targets: the role {name} must stay as it is but for its keys")


def _roles(targets: Targets) -> dict[str, DelegatedRole]:
    delegations = targets.delegations
    if delegations is None or delegations.roles is None or not {MODELS_ROLE} <= set(delegations.roles) <= set(DELEGATED):
        raise PublicationError(f"targets: must delegate to {MODELS_ROLE} and {CONFIG_ROLE} alone")
    return delegations.roles


def _check_version(name: str, current: Metadata[_T], proposed: Metadata[_T], now: datetime) -> None:
    wanted = current.signed.version + 1
    if proposed.signed.version != wanted:
        raise PublicationError(
            f"{name}: version {proposed.signed.version}, but the next is {wanted}: changed meanwhile, run the command again"
        )
    if proposed.signed.is_expired(now):
        raise PublicationError(f"{name}: already past its expiry date: check the clock of the signing machine")


def _check_signatures(delegator: Metadata[Root], role: str, metadata: Metadata[_T]) -> None:
    threshold = delegator.signed.roles[role].threshold
    try:
        delegator.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as error:
        keys = "key" if threshold == 1 else "keys"
        version = f"version {delegator.signed.version} of root"
        raise PublicationError(f"{role}: signatures of {threshold} {keys} are needed that {version} names") from error


def _next_targets(current: Metadata[Targets], now: datetime) -> Metadata[Targets]:
    following = _following(current)
    following.signed.expires = now.replace(microsecond=0) + TARGETS_LIFETIME
    return following


def _following(current: Metadata[_T]) -> Metadata[_T]:
    following = copy.deepcopy(current)
    following.signatures.clear()
    following.signed.version += 1
    return following
