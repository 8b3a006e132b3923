"""A revision of a configuration: held against the signed facts, fetched whole, checked against its hash, kept by its hash.

Rollback is the metadata's to stop: a revision counts only while the newest signed metadata names it, and the metadata of the
role never goes back on this device.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tuf.api.exceptions import DownloadLengthMismatchError, LengthOrHashMismatchError
from tuf.api.metadata import TargetFile

from edge_agent import __version__
from edge_agent.durable import write_file_durably
from edge_agent.updates.trust.fetcher import TokenFetcher
from edge_agent.updates.trust.job import Done, Job
from edge_agent.updates.trust.refusal import Refusal
from fleet_contract.configuration import (
    MAX_CONFIGURATION_BYTES,
    ConfigurationRevision,
    DesiredConfiguration,
    is_older,
    parse_revision,
)
from fleet_contract.reasons import Reason
from fleet_contract.version import CONTRACT_HIGH, CONTRACT_LOW

if TYPE_CHECKING:
    from edge_agent.updates.trust.metadata import SignedFacts


def fetch_configuration(job: Job, wanted: DesiredConfiguration, facts: "SignedFacts", fetcher: TokenFetcher) -> Done:
    """Check the signed facts, fetch the bytes, keep them in the download folder. Raises Refusal, DownloadError and OSError."""
    target = check_configuration(wanted, facts)
    url = job.targets_url.rstrip("/") + "/" + facts.path
    try:
        data = fetcher.download_bytes(url, target.length)
    except DownloadLengthMismatchError as error:
        raise Refusal(Reason.HASH_MISMATCH, f"{url} gives more than the {target.length} bytes that were signed") from error
    try:
        target.verify_length_and_hashes(data)
    except LengthOrHashMismatchError as error:
        raise Refusal(Reason.HASH_MISMATCH, str(error)) from error
    digest = target.hashes["sha256"]
    path = Path(job.download_dir) / f"{digest}.toml"
    for left in path.parent.glob("*.toml"):
        left.unlink()  # of a fetch whose daemon was killed, or wanted another one by then
    write_file_durably(path, data)
    return Done(path=str(path), digest=f"sha256:{digest}", version=str(wanted.revision), received=fetcher.received)


def check_configuration(wanted: DesiredConfiguration, facts: "SignedFacts") -> TargetFile:
    """Hold the desired revision against the signed facts and this agent. Raises Refusal."""
    what = f"revision {wanted.revision} of {wanted.name}"
    target = facts.target
    if target is None:
        raise Refusal(Reason.CONFIGURATION_UNKNOWN, f"the signed metadata has no {what}")
    try:
        signed = parse_revision(target.custom)
    except ValueError as error:
        raise Refusal(Reason.METADATA_INVALID, str(error)) from error
    if (signed.name, signed.revision) != (wanted.name, wanted.revision):
        raise Refusal(Reason.METADATA_INVALID, f"the facts signed for {what} belong to {signed.name} {signed.revision}")
    if "sha256" not in target.hashes:
        raise Refusal(Reason.METADATA_INVALID, f"{what} is signed without a sha256")
    if target.length > MAX_CONFIGURATION_BYTES:
        raise Refusal(
            Reason.CONFIGURATION_TOO_LARGE, f"{what} has {target.length} bytes; {MAX_CONFIGURATION_BYTES} are taken in"
        )
    _check_agent(signed)
    return target


def _check_agent(signed: ConfigurationRevision) -> None:
    what = f"revision {signed.revision} of {signed.name}"
    if is_older(__version__, signed.agent):
        raise Refusal(Reason.AGENT_TOO_OLD, f"{what} asks for edge-agent {signed.agent}, this is {__version__}")
    if signed.contract_low > CONTRACT_HIGH:
        raise Refusal(
            Reason.AGENT_TOO_OLD, f"{what} asks for contract version {signed.contract_low}, this agent knows {CONTRACT_HIGH}"
        )
    if signed.contract_high is not None and signed.contract_high < CONTRACT_LOW:
        raise Refusal(
            Reason.CONFIGURATION_INVALID,
            f"{what} is for contract versions up to {signed.contract_high}, this agent begins at {CONTRACT_LOW}",
        )
