"""Reason codes: stable words that travel on the wire, stand in tables and are what an operator searches for.

A code is never renamed or given a second meaning. `MEANING` is the text shown beside a code and the source of the table in
`docs/protocol.md`.
"""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why something was refused, dropped or taken back."""

    # updates: what they wait for
    HELD = "held"
    OUTSIDE_WINDOW = "outside_window"
    CLOCK_BEHIND = "clock_behind"
    BATTERY_LOW = "battery_low"
    TOO_WARM = "too_warm"
    METERED_LINK = "metered_link"
    DATA_BUDGET = "data_budget"
    # updates: before the bundle is on the device
    METADATA_EXPIRED = "metadata_expired"
    METADATA_INVALID = "metadata_invalid"
    METADATA_ROLLBACK = "metadata_rollback"
    METADATA_MISMATCH = "metadata_mismatch"
    METADATA_TOO_LARGE = "metadata_too_large"
    SIGNATURE_INVALID = "signature_invalid"
    THRESHOLD_NOT_MET = "threshold_not_met"
    RELEASE_UNKNOWN = "release_unknown"
    RELEASE_BELOW_FLOOR = "release_below_floor"
    ACTIVE_REVOKED = "active_revoked"
    DOWNLOAD_FAILED = "download_failed"
    HASH_MISMATCH = "hash_mismatch"
    DISK_FULL = "disk_full"
    DISK_READ_ONLY = "disk_read_only"
    DISK_FAILING = "disk_failing"
    # updates: the bundle itself
    BUNDLE_INVALID = "bundle_invalid"
    BUNDLE_TOO_LARGE = "bundle_too_large"
    ENTRY_NAME = "entry_name"
    ENTRY_KIND = "entry_kind"
    ENTRY_TWICE = "entry_twice"
    MANIFEST_INVALID = "manifest_invalid"
    GOLDEN_INVALID = "golden_invalid"
    LICENCE_INVALID = "licence_invalid"
    METRICS_WITHOUT_DATA = "metrics_without_data"
    ACCELERATOR_UNKNOWN = "accelerator_unknown"
    OPSET_MISMATCH = "opset_mismatch"
    SIZE_MISMATCH = "size_mismatch"
    TENSOR_MISMATCH = "tensor_mismatch"
    NO_VARIANT = "no_variant"
    MODEL_FILE_INVALID = "model_file_invalid"
    EXTERNAL_DATA = "external_data"
    FOREIGN_OPERATOR = "foreign_operator"
    RUNTIME_MISSING = "runtime_missing"
    INCOMPATIBLE = "incompatible"
    PROVIDER_MISSING = "provider_missing"
    # updates: running it
    LOAD_FAILED = "load_failed"
    GOLDEN_MISMATCH = "golden_mismatch"
    TEST_TIMEOUT = "test_timeout"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"
    # updates: how a release does on live inputs
    ERROR_RATE = "error_rate"
    LATENCY = "latency"
    MEMORY = "memory"
    CONFIDENCE = "confidence"
    DISAGREEMENT = "disagreement"
    DRIFTED = "drifted"
    DRIFT_OVER = "drift_over"
    # configuration
    KEY_NOT_ALLOWED = "key_not_allowed"
    CONFIGURATION_INVALID = "configuration_invalid"
    CONFIGURATION_TOO_LARGE = "configuration_too_large"
    CONFIGURATION_UNKNOWN = "configuration_unknown"
    AGENT_TOO_OLD = "agent_too_old"
    START_FAILED = "start_failed"
    BROKER_UNREACHABLE = "broker_unreachable"
    PIPELINE_SILENT = "pipeline_silent"
    # inference
    WORKER_CRASHED = "worker_crashed"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    BAD_OUTPUT = "bad_output"
    POISON_INPUT = "poison_input"
    SLOWED = "slowed"
    PAUSED = "paused"
    RESUMED = "resumed"
    QUARANTINED = "quarantined"
    SWAP_UNLOADS_FIRST = "swap_unloads_first"
    WINDOWS_DROPPED = "windows_dropped"
    WINDOWS_SAMPLED = "windows_sampled"
    # events
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_PROTOBUF = "not_protobuf"
    PROTOBUF_PAYLOAD = "protobuf_payload"
    NOT_CBOR = "not_cbor"
    NOT_MSGPACK = "not_msgpack"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_VALUES = "too_many_values"
    NOT_FINITE = "not_finite"
    WRONG_SHAPE = "wrong_shape"
    BAD_TIME = "bad_time"
    UNKNOWN_ALIAS = "unknown_alias"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_CONTENT_TYPE = "unknown_content_type"
    # the store
    JOURNAL_FULL = "journal_full"
    OUTBOX_FULL = "outbox_full"
    OUTBOX_EXPIRED = "outbox_expired"
    # commands
    UNKNOWN_COMMAND = "unknown_command"
    BAD_ARGUMENT = "bad_argument"
    EXPIRED = "expired"
    REPEATED = "repeated"
    # feedback
    BAD_FEEDBACK = "bad_feedback"
    UNKNOWN_RESULT = "unknown_result"
    AMBIGUOUS_RESULT = "ambiguous_result"
    CONTRADICTORY = "contradictory"


HOLDS: Final = frozenset(
    {
        Reason.HELD,
        Reason.OUTSIDE_WINDOW,
        Reason.CLOCK_BEHIND,
        Reason.BATTERY_LOW,
        Reason.TOO_WARM,
        Reason.METERED_LINK,
        Reason.DATA_BUDGET,
    }
)
"""An update that waits for one of these has not failed."""

MEANING: Final[dict[Reason, str]] = {
    Reason.HELD: "An operator holds the device's updates, or the model's; `update-release` lets them go on.",
    Reason.OUTSIDE_WINDOW: "No maintenance window is open; the update goes on in the next one.",
    Reason.CLOCK_BEHIND: "The device's clock is before the last time that it has seen, so it is not believed.",
    Reason.BATTERY_LOW: "The battery is below the percentage that updates need, and it is not charging.",
    Reason.TOO_WARM: "The board is warmer than a new release may be tried at.",
    Reason.METERED_LINK: "The way to the network is one that updates are not fetched over.",
    Reason.DATA_BUDGET: "What is to be fetched is more than this month's data budget has left.",
    Reason.METADATA_EXPIRED: "The signed metadata is past its expiry date; the controller has to re-sign it.",
    Reason.METADATA_INVALID: "The signed metadata does not parse, or breaks the rules of what it may say.",
    Reason.METADATA_ROLLBACK: "The metadata is older than one that this device has already seen.",
    Reason.METADATA_MISMATCH: "The signed documents do not belong together: one is not of the version that another names.",
    Reason.METADATA_TOO_LARGE: "A document of the metadata is larger than any honest one, or does not end.",
    Reason.SIGNATURE_INVALID: "A document of the metadata is not signed by any of the keys that it has to be signed by.",
    Reason.THRESHOLD_NOT_MET: "A document of the metadata is signed by some of the keys, but by fewer than are needed.",
    Reason.RELEASE_UNKNOWN: "The signed metadata does not name the desired release.",
    Reason.RELEASE_BELOW_FLOOR: "The release was revoked: it lies below the highest floor seen.",
    Reason.ACTIVE_REVOKED: "The release that answers was revoked. It goes on, but can never come back once it was replaced.",
    Reason.DOWNLOAD_FAILED: "The artifact could not be downloaded after the allowed number of attempts.",
    Reason.HASH_MISMATCH: "The downloaded bytes are not the bytes that were signed.",
    Reason.DISK_FULL: "There is not enough space on the state disk.",
    Reason.DISK_READ_ONLY: "The state disk takes no writes: events wait at the site broker.",
    Reason.DISK_FAILING: "The state disk answers writes with errors: events wait at the site broker.",
    Reason.BUNDLE_INVALID: "The bundle is not a plain tar with exactly the entries that its manifest names.",
    Reason.BUNDLE_TOO_LARGE: "The bundle, or one of its entries, is larger than allowed.",
    Reason.ENTRY_NAME: "An entry of the bundle is no plain file name: it holds a folder, `..` or a leading dot.",
    Reason.ENTRY_KIND: "An entry of the bundle is no plain file: a link, a device, a pipe, a folder or a sparse file.",
    Reason.ENTRY_TWICE: "Two entries of the bundle have the same name.",
    Reason.MANIFEST_INVALID: "model.toml does not parse, or contradicts itself or the signed metadata.",
    Reason.GOLDEN_INVALID: "The golden samples do not parse, or do not fit what the manifest says the model takes and gives.",
    Reason.LICENCE_INVALID: "The licence is no SPDX expression.",
    Reason.METRICS_WITHOUT_DATA: "The manifest gives metrics and does not say on which data they were measured.",
    Reason.ACCELERATOR_UNKNOWN: "The manifest asks for an execution provider or delegate that its runtime does not have.",
    Reason.OPSET_MISMATCH: "The operators in the model file are of another version than the manifest says or its runtime has.",
    Reason.SIZE_MISMATCH: "A size in the manifest cannot be: the file alone takes more, or two sizes contradict each other.",
    Reason.TENSOR_MISMATCH: "Names, types or shapes in the model file are others than the manifest says.",
    Reason.NO_VARIANT: "The device can run no variant of the release; the detail names each with why not.",
    Reason.MODEL_FILE_INVALID: "The model file is not of its format, or uses what is refused.",
    Reason.EXTERNAL_DATA: "The model file keeps tensors in another file.",
    Reason.FOREIGN_OPERATOR: "The model file uses operators that the runtime itself does not have, or that are compiled code.",
    Reason.RUNTIME_MISSING: "The runtime that the model needs is not installed on the device.",
    Reason.INCOMPATIBLE: "The device does not meet the manifest's requirements.",
    Reason.PROVIDER_MISSING: "No execution provider or delegate that the configuration requires for the model works there.",
    Reason.LOAD_FAILED: "The runtime could not load the model.",
    Reason.GOLDEN_MISMATCH: "The model's answers to its golden samples differ from the expected ones.",
    Reason.TEST_TIMEOUT: "The golden samples did not finish in the allowed time.",
    Reason.SUPERSEDED: "Another release was desired before this update had finished.",
    Reason.INTERRUPTED: "The update was cut off too many times by restarts.",
    Reason.ERROR_RATE: "More inputs got no scores than with the release before, beyond what is allowed.",
    Reason.LATENCY: "The release is slower than the one before or than its manifest promises, beyond what is allowed.",
    Reason.MEMORY: "The release takes more memory than the one before or than its manifest promises, beyond what is allowed.",
    Reason.CONFIDENCE: "The release is less sure of its answers than the one before, beyond what is allowed.",
    Reason.DISAGREEMENT: "The release answers otherwise than the one before more often than is allowed.",
    Reason.KEY_NOT_ALLOWED: "The configuration sets a key that only the device's own file may set.",
    Reason.CONFIGURATION_INVALID: "The configuration does not parse, or together with the device's own file it is wrong.",
    Reason.CONFIGURATION_TOO_LARGE: "The configuration has more bytes than a device takes in.",
    Reason.CONFIGURATION_UNKNOWN: "The signed metadata does not name the desired revision.",
    Reason.AGENT_TOO_OLD: "The agent is older than the configuration or the controller asks; the package manager updates it.",
    Reason.START_FAILED: "The agent did not get through its first minutes with the configuration in three starts.",
    Reason.BROKER_UNREACHABLE: "The agent did not reach the fleet broker after the configuration had changed.",
    Reason.PIPELINE_SILENT: "A pipeline that gave results before the configuration changed gave none after it.",
    Reason.DRIFTED: "What the model is given, or answers, is far from its baseline; as the end of an update: its answers are.",
    Reason.DRIFT_OVER: "What the model is given and what it answers is near its baseline again.",
    Reason.WORKER_CRASHED: "The model's worker process ended while it was scoring.",
    Reason.DEADLINE_EXCEEDED: "The model did not answer within its deadline.",
    Reason.BAD_OUTPUT: "The model answered with the wrong shape or with values that are not finite.",
    Reason.POISON_INPUT: "This input ended the worker twice and is not tried again.",
    Reason.SLOWED: "The board is warm: the model rests between its batches. Its windows wait.",
    Reason.PAUSED: "The board is too hot or short of memory: the model scores nothing for now. Its windows wait.",
    Reason.RESUMED: "The model runs again as it should.",
    Reason.QUARANTINED: "The release ended workers for too many different causes; the one before takes over, if there is one.",
    Reason.SWAP_UNLOADS_FIRST: "Two releases do not fit in memory together: the incumbent went before the new one came.",
    Reason.WINDOWS_DROPPED: "More windows waited for the model than the pipeline's queue holds; the oldest were dropped.",
    Reason.WINDOWS_SAMPLED: "More windows waited for the model than the pipeline's queue holds; only a sample was scored.",
    Reason.NOT_UTF8: "The payload is not valid UTF-8.",
    Reason.NOT_JSON: "The payload is not valid JSON.",
    Reason.NOT_PROTOBUF: "The payload is not the protobuf message that its topic promises.",
    Reason.PROTOBUF_PAYLOAD: "The network server sends protobuf where JSON is read; set `json=true` in its MQTT integration.",
    Reason.NOT_CBOR: "The payload is not valid CBOR, or uses what is refused, such as shared references.",
    Reason.NOT_MSGPACK: "The payload is not valid MessagePack.",
    Reason.TOO_LARGE: "The payload is larger than allowed.",
    Reason.TOO_DEEP: "The payload is nested more deeply than allowed.",
    Reason.TOO_MANY_VALUES: "The payload holds more values than allowed.",
    Reason.NOT_FINITE: "A number is beyond what can be held.",
    Reason.WRONG_SHAPE: "The payload parses, but is not of the format's form.",
    Reason.BAD_TIME: "The time in the payload cannot be read.",
    Reason.UNKNOWN_ALIAS: "Sparkplug data with metrics that no birth has explained; the node is asked for its births.",
    Reason.UNKNOWN_VERSION: "The payload says that it is of a version of its format that the agent does not know.",
    Reason.UNKNOWN_CONTENT_TYPE: "The content type of the payload, or of the data in it, is none that the agent reads.",
    Reason.JOURNAL_FULL: "Open windows hold all the events that `max_journal_rows` allows; no more are taken over for now.",
    Reason.OUTBOX_FULL: "The outbox was full: the oldest rows of the lowest class were dropped, or no events are taken over.",
    Reason.OUTBOX_EXPIRED: "Rows had waited in the outbox for longer than is allowed, and were dropped.",
    Reason.UNKNOWN_COMMAND: "The device does not know this command.",
    Reason.BAD_ARGUMENT: "An argument of the command is missing, unknown or out of range.",
    Reason.EXPIRED: "The command arrived after its expiry.",
    Reason.REPEATED: "The command was executed before; it is executed at most once.",
    Reason.BAD_FEEDBACK: "What was said to be right is of the wrong form, or no label (or value) that the result could have.",
    Reason.UNKNOWN_RESULT: "There is no such result of a model, or it is no longer remembered.",
    Reason.AMBIGUOUS_RESULT: "Several devices have given a result of this id: the device has to be named.",
    Reason.CONTRADICTORY: "The same batch says two different things of this result; none of them is taken.",
}
