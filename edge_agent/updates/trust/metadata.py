"""The signed metadata: refreshed by python-tuf, then held against the floors that only this device knows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient.updater import Updater

from edge_agent.durable import fsync_file, fsync_folder
from edge_agent.updates.picking import Choice
from edge_agent.updates.trust.fetcher import TokenFetcher
from edge_agent.updates.trust.job import Job
from edge_agent.updates.trust.refusal import Refusal
from edge_agent.updates.trust.variants import pick_variant
from fleet_contract.configuration import configuration_path
from fleet_contract.reasons import Reason
from fleet_contract.trust import MODELS_ROLE, Release, parse_floors, parse_release, target_path

_T = TypeVar("_T", Root, Timestamp, Snapshot, Targets)

ANY_MODEL: Final = "any"
"""Stands in the path of a job that names no model. Whether there is such a target says nothing."""


@dataclass(frozen=True, slots=True)
class SignedFacts:
    """What the keys say, at one moment."""

    timestamp_version: int
    timestamp_keys: str
    release_floor: int
    """The highest floor of any signed release of the model, and of this device's own."""
    floors: dict[str, int]
    """Model to floor, of every model that the metadata names."""
    expires: float
    """Seconds since 1970: when the first of the documents expires."""
    target: TargetFile | None
    """None: the release is not signed."""
    path: str
    """The target's path below the targets' URL, with its hash where the repository uses consistent snapshots."""
    choice: Choice | None = None
    """Among the release's variants; None where it is not signed."""


def open_updater(job: Job, fetcher: TokenFetcher) -> Updater:
    """The library's updater over the job's folder: trusted from the job's first root, at the job's time.

    Raises RepositoryError and OSError.
    """
    folder = Path(job.metadata_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob("tmp*"):
        left.unlink()  # the library's own, of a child that was killed while it wrote
    updater = Updater(str(folder), job.metadata_url, fetcher=fetcher, bootstrap=Path(job.root_file).read_bytes())
    # The library always takes the system clock, and a clock that was set back would bring expired metadata back to life.
    updater._trusted_set.reference_time = datetime.fromtimestamp(job.reference_time, UTC)
    return updater


def refresh(job: Job, fetcher: TokenFetcher) -> SignedFacts:
    """Bring the metadata up to date, make it durable and return what it says about the job's release, if it names one.

    Raises Refusal, tuf's RepositoryError and DownloadError, and OSError.
    """
    folder = Path(job.metadata_dir)
    updater = open_updater(job, fetcher)
    wanted = job.configuration
    if wanted is not None:
        path = configuration_path(wanted.name, wanted.revision)
    else:  # the models' metadata is only read for a path that it may speak of
        path = target_path(job.model or ANY_MODEL, job.release or 1)
    try:
        updater.refresh()
        target = updater.get_targetinfo(path)
    finally:
        make_durable(folder)
    version = _read(folder / "timestamp.json", Timestamp).version
    root = _read(folder / "root.json", Root)
    keys = " ".join(sorted(root.roles[Timestamp.type].keyids))
    # Whoever stole a timestamp key may have signed a version so high that no honest one reaches it. Only root takes a key away.
    if version < job.timestamp_floor and job.timestamp_keys in ("", keys):
        raise Refusal(
            Reason.METADATA_ROLLBACK, f"timestamp version {version} is older than version {job.timestamp_floor}, seen before"
        )
    models = folder / f"{MODELS_ROLE}.json"
    signed = _read(models, Targets) if wanted is None and models.is_file() else None
    floors = _floors(signed) if signed is not None else {}
    picked = pick_variant(job, signed) if signed is not None and job.release else None
    if picked is not None:
        path = picked.path or path
        target = updater.get_targetinfo(path) if picked.path is not None else None
    floor = max(job.release_floor, floors.get(job.model, 0))
    documents = (root, _read(folder / "timestamp.json", Timestamp), _read(folder / "snapshot.json", Snapshot))
    expires = min(each.expires for each in (*documents, _read(folder / "targets.json", Targets), signed) if each is not None)
    if target is not None and root.consistent_snapshot:
        path = target.get_prefixed_paths()[0]
    return SignedFacts(version, keys, floor, floors, expires.timestamp(), target, path, picked.choice if picked else None)


def check_release(job: Job, facts: SignedFacts) -> tuple[TargetFile, Release]:
    """Hold the desired release against the signed facts. Raises Refusal."""
    if job.release < facts.release_floor:
        raise Refusal(Reason.RELEASE_BELOW_FLOOR, f"release {job.release} of {job.model} is below {facts.release_floor}")
    if facts.target is None and facts.choice is not None:
        text = "; ".join(f"{name}: {why}" for name, why in facts.choice.rejected.items())
        raise Refusal(Reason.NO_VARIANT, f"release {job.release} of {job.model} has no variant that runs here: {text}")
    if facts.target is None:
        raise Refusal(Reason.RELEASE_UNKNOWN, f"the signed metadata has no release {job.release} of {job.model}")
    try:
        release = parse_release(facts.target.custom)
    except ValueError as error:
        raise Refusal(Reason.METADATA_INVALID, str(error)) from error
    if (release.model, release.release) != (job.model, job.release):
        raise Refusal(
            Reason.METADATA_INVALID,
            f"the facts signed for {job.model} {job.release} belong to {release.model} {release.release}",
        )
    if "sha256" not in facts.target.hashes:
        raise Refusal(Reason.METADATA_INVALID, f"release {job.release} of {job.model} is signed without a sha256")
    if facts.target.length > job.max_bytes:
        raise Refusal(
            Reason.BUNDLE_TOO_LARGE, f"the bundle has {facts.target.length} bytes, this device allows {job.max_bytes}"
        )
    return facts.target, release


def _floors(signed: Targets) -> dict[str, int]:
    """Over all signed releases, and floors raised without one: a device that never saw what raised it learns of it too."""
    try:
        floors = parse_floors(signed.unrecognized_fields)
    except ValueError as error:
        raise Refusal(Reason.METADATA_INVALID, str(error)) from error
    for path, target in signed.targets.items():
        try:
            release = parse_release(target.custom)
            named = target_path(release.model, release.release, release.variant)
        except ValueError:
            continue  # another release's facts are not this job's to refuse
        if named == path and release.floor:
            floors[release.model] = max(floors.get(release.model, 0), release.floor)
    return floors


def _read(path: Path, kind: type[_T]) -> _T:
    signed = Metadata.from_bytes(path.read_bytes()).signed
    if not isinstance(signed, kind):
        raise RepositoryError(f"{path.name} is not metadata of the type {kind.type}")
    return signed


def make_durable(folder: Path) -> None:
    history = folder / "root_history"
    for place in (history, folder):
        if not place.is_dir():
            continue
        for file in place.glob("*.json"):
            fsync_file(file)
        fsync_folder(place)
