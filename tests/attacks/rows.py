"""The table: what the attacker does, which release the device is told to run, and the reason with which it refuses."""

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from fleet_contract.reasons import Reason
from fleet_contract.trust import MODELS_ROLE
from tests.attacks import bundles
from tests.attacks.bundles import entries, entry, pack
from tests.attacks.repository import Signing, signed
from tests.attacks.server import Server

INCUMBENT: Final = 1
SOUND: Final = 2
"""A sound release; only what the attacker does keeps the device from it."""
FIRST_HOSTILE: Final = 10


@dataclass(slots=True)
class Scene:
    """What an attacker can lay hands on."""

    signing: Signing
    server: Server
    early: dict[str, bytes]
    """The metadata as it was before the sound release."""


@dataclass(frozen=True, slots=True)
class Row:
    """One attack."""

    name: str
    reason: Reason
    act: Callable[[Scene], object]
    release: int = SOUND
    stops: str = ""
    """What stops it, for docs/security.md."""


def _serve(scene: Scene, *parts: dict[str, bytes]) -> None:
    for part in parts:
        scene.server.instead.update(part)


def _old_timestamp(scene: Scene) -> None:
    scene.server.frozen = scene.early


def _old_snapshot(scene: Scene) -> None:
    _, timestamp = scene.signing.lead_to({}, snapshot_version=1)
    _serve(scene, timestamp)


def _old_models(scene: Scene) -> None:
    _serve(scene, *scene.signing.lead_to({MODELS_ROLE: 1}))


def _expired(scene: Scene) -> None:
    timestamp = scene.signing.read("timestamp.json", Timestamp)
    timestamp.signed.version += 1
    timestamp.signed.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    _serve(scene, {"metadata/timestamp.json": signed(timestamp, [scene.signing.keys.timestamp])})


def _held_back(scene: Scene) -> None:
    scene.server.frozen = scene.signing.copy()
    scene.signing.publish("7.0.0")


def _mixed_snapshot(scene: Scene) -> None:
    signing = scene.signing
    before = signing.copy()[signing.current(Snapshot.type)]
    signing.renew()
    _serve(scene, {f"metadata/{signing.current(Snapshot.type)}": before})


def _mixed_models(scene: Scene) -> None:
    number = _number(scene, MODELS_ROLE) + 1
    _serve(scene, *scene.signing.lead_to({MODELS_ROLE: number}))
    _serve(scene, {f"metadata/{number}.{MODELS_ROLE}.json": scene.early["2.models.json"]})


def _number(scene: Scene, role: str) -> int:
    return int(scene.signing.current(role).partition(".")[0])


def _by(role: str, signers: Callable[[Scene], list[CryptoSigner]]) -> Callable[[Scene], None]:
    """The next document of the role, signed by these. What leads to it is signed by the stolen online keys."""

    def act(scene: Scene) -> None:
        signing = scene.signing
        data = signing.next_of(role, signers(scene))
        number = _number(scene, role) + 1 if role != Timestamp.type else 0
        if role == Timestamp.type:
            _serve(scene, {"metadata/timestamp.json": data})
        elif role == Root.type:
            _serve(scene, {f"metadata/{number}.root.json": data})
        elif role == Snapshot.type:
            _serve(scene, signing.lead_to({})[1], {f"metadata/{number}.snapshot.json": data})
        else:
            _serve(scene, *signing.lead_to({role: number}), {f"metadata/{number}.{role}.json": data})

    return act


def _stranger(scene: Scene) -> list[CryptoSigner]:
    return [scene.signing.keys.stranger]


def _online(scene: Scene) -> list[CryptoSigner]:
    return [scene.signing.keys.snapshot, scene.signing.keys.timestamp]


def _one_root(scene: Scene) -> list[CryptoSigner]:
    return scene.signing.keys.root[:1]


def _endless(role: str) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        signing = scene.signing
        number = _number(scene, role) + 1 if role != Timestamp.type else 0
        if role not in (Timestamp.type, Root.type):
            _serve(scene, *signing.lead_to({} if role == Snapshot.type else {role: number}))
            scene.server.instead.pop(f"metadata/{number}.{role}.json", None)
        scene.server.endless.add("metadata/timestamp.json" if role == Timestamp.type else f"metadata/{number}.{role}.json")

    return act


def _text(data: bytes) -> Callable[[Scene], None]:
    return lambda scene: _serve(scene, {"metadata/timestamp.json": data})


def _bundle_file(scene: Scene) -> str:
    folder = scene.signing.folder / "targets"
    return next(path for path in folder.rglob(f"*.{SOUND}.tar")).relative_to(scene.signing.folder).as_posix()


def _tampered(scene: Scene) -> None:
    name = _bundle_file(scene)
    data = bytearray((scene.signing.folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    _serve(scene, {name: bytes(data)})


def _endless_bundle(scene: Scene) -> None:
    scene.server.endless.add(_bundle_file(scene))


def _nothing(_: Scene) -> None:
    """All lies in the release."""


def _hostile(number: int, make: Callable[[str], bytes]) -> Callable[[Scene], None]:
    def act(scene: Scene) -> None:
        version = f"{number}.0.0"
        scene.signing.release_by_thief(number, make(version), version)

    return act


def _with(*more: bundles.Entry) -> Callable[[str], bytes]:
    return lambda version: pack([*entries(version), *more])


def _claims(text: str) -> Callable[[str], bytes]:
    return lambda version: pack(entries(version, more=text))


def _link(name: str, kind: bytes, target: str = "") -> bundles.Entry:
    return entry(name, type=kind, linkname=target)


_SIGNED: Final[tuple[tuple[str, Reason, Callable[[str], bytes], str], ...]] = (
    ("tar: an entry above the folder", Reason.ENTRY_NAME, _with(entry("../evil", b"x")), "only plain file names"),
    ("tar: an absolute path", Reason.ENTRY_NAME, _with(entry("/etc/cron.d/evil", b"x")), "only plain file names"),
    ("tar: a symbolic link", Reason.ENTRY_KIND, _with(_link("link", tarfile.SYMTYPE, "/etc/passwd")), "only plain files"),
    ("tar: a hard link", Reason.ENTRY_KIND, _with(_link("link", tarfile.LNKTYPE, "model.toml")), "only plain files"),
    ("tar: a device", Reason.ENTRY_KIND, _with(_link("null", tarfile.CHRTYPE)), "only plain files"),
    ("tar: a pipe", Reason.ENTRY_KIND, _with(_link("pipe", tarfile.FIFOTYPE)), "only plain files"),
    ("tar: a name twice", Reason.ENTRY_TWICE, _with(entry("model.onnx", b"other")), "every name once"),
    ("tar: an entry nobody named", Reason.BUNDLE_INVALID, _with(entry("evil.so", b"\x7fELF")), "only what the manifest names"),
    (
        "ONNX: data in another file",
        Reason.EXTERNAL_DATA,
        lambda version: pack(entries(version, file=bundles.model_file(bundles.keep_outside))),
        "read before the runtime sees it",
    ),
    (
        "ONNX: an operator of somebody's library",
        Reason.FOREIGN_OPERATOR,
        lambda version: pack(entries(version, file=bundles.model_file(bundles.use_foreign))),
        "read before the runtime sees it",
    ),
    (
        "manifest: another shape than the file's",
        Reason.TENSOR_MISMATCH,
        lambda version: pack(entries(version, file=bundles.model_file(bundles.ask_more))),
        "held against the file",
    ),
    (
        "manifest: less memory than it takes",
        Reason.SIZE_MISMATCH,
        _claims("requirements = { memory_peak_bytes = 10 }\n"),
        "held against the file, and against what the test takes",
    ),
    (
        "manifest: another model than was signed",
        Reason.MANIFEST_INVALID,
        lambda version: pack(entries(version, name="other")),
        "held against the signed facts",
    ),
)  # fmt: skip

ROWS: Final = (
    Row("timestamp: an older one", Reason.METADATA_ROLLBACK, _old_timestamp, stops="versions never sink"),
    Row("snapshot: an older one (stolen timestamp key)", Reason.METADATA_ROLLBACK, _old_snapshot, stops="versions never sink"),
    Row("models: an older one (stolen online keys)", Reason.METADATA_ROLLBACK, _old_models, stops="versions never sink"),
    Row("freeze: expired", Reason.METADATA_EXPIRED, _expired, stops="every document expires; the clock never goes back"),
    Row("freeze: held back within the expiry", Reason.RELEASE_UNKNOWN, _held_back, 3, "the timestamp expires in 7 days"),
    Row("mix: an older snapshot in the place of this", Reason.METADATA_MISMATCH, _mixed_snapshot, stops="versions are signed"),
    Row("mix: older models in the place of these", Reason.METADATA_MISMATCH, _mixed_models, stops="versions are signed"),
    *(
        Row(f"wrong key: {role}", Reason.SIGNATURE_INVALID, _by(role, _stranger), stops="keys are named by root and targets")
        for role in (Root.type, Timestamp.type, Snapshot.type, Targets.type, MODELS_ROLE)
    ),
    Row("threshold: root by one key of two", Reason.THRESHOLD_NOT_MET, _by(Root.type, _one_root), stops="two keys sign root"),
    Row("stolen online keys: a release", Reason.SIGNATURE_INVALID, _by(MODELS_ROLE, _online), 4, "the release key is offline"),
    *(
        Row(f"endless: {role}", Reason.METADATA_TOO_LARGE, _endless(role), stops="every document has a bound")
        for role in (Root.type, Timestamp.type, Snapshot.type, Targets.type, MODELS_ROLE)
    ),
    Row("endless: the bundle", Reason.HASH_MISMATCH, _endless_bundle, stops="its length is signed"),
    Row("tampered: one bit of the bundle", Reason.HASH_MISMATCH, _tampered, stops="its hash is signed"),
    Row("JSON: nested without end", Reason.METADATA_INVALID, _text(b"[" * 16_000), stops="parsed in a process of its own"),
    Row("JSON: no JSON", Reason.METADATA_INVALID, _text(b"\x00\xff{"), stops="parsed in a process of its own"),
    Row("JSON: other types", Reason.METADATA_INVALID, _text(b'{"signed": 7, "signatures": {"a": NaN}}'), stops="typed"),
    *(
        Row(name, reason, _hostile(FIRST_HOSTILE + number, make), FIRST_HOSTILE + number, stops)
        for number, (name, reason, make, stops) in enumerate(_SIGNED)
    ),
)  # fmt: skip

REPLAYED: Final = "desired: an older message again (controller and broker taken over)"
HOSTILE: Final = "desired: hostile JSON"
REVOKED: Final = "desired: a revoked release (controller, broker and online keys taken over)"
IGNORED: Final = "nothing is done"
TABLE: Final = (
    *((row.name, f"`{row.reason}`", row.stops) for row in ROWS),
    (REPLAYED, IGNORED, "revisions only grow"),
    (HOSTILE, IGNORED, "typed; counted as `messages_refused`"),
    (REVOKED, f"`{Reason.RELEASE_BELOW_FLOOR}`", "the floor is in the device's own database"),
)
"""Every attack as docs/security.md tells of it: what, the reason that the device gives, and what stops it."""
