"""Every table of the controller. Times are seconds since 1970 by the controller's clock unless a column says otherwise.

Payloads of devices are stored as the bytes that came, so that fields of a newer contract are kept; the columns beside them are
what queries need. Evidence (results, notes, health) names its device without a foreign key: it may outlive the device.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of exactly this type.
_Serial = BigInteger().with_variant(Integer, "sqlite")
_Name = String(63)

devices = Table(
    "devices",
    metadata,
    Column("device", _Name, primary_key=True),
    Column("labels", JSON, nullable=False),
    # SHA-256 (hex) of the device's HTTP token.
    Column("token_hash", String(64), unique=True),
    # The line of the broker's password file: a salted hash, never the password.
    Column("broker_line", Text),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)

# Birth, reported and the newest health: the last value counts.
slots = Table(
    "slots",
    metadata,
    Column("device", _Name, primary_key=True),
    # `birth`, `reported` or `health`.
    Column("channel", String(16), primary_key=True),
    Column("stream", String(64), nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received", Double, nullable=False),
)

health = Table(
    "health",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("device", _Name, nullable=False),
    Column("received", Double, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index(None, "device", "id"),
    Index(None, "received"),
)

results = Table(
    "results",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("device", _Name, nullable=False),
    # Null on a result that is not durable, which has no place in a stream.
    Column("stream", String(64)),
    Column("seq", BigInteger),
    Column("result_id", String(128), nullable=False),
    # Of the payload; a higher one takes the place of what is there.
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("pipeline", _Name, nullable=False),
    Column("source", Text, nullable=False),
    # Event time, RFC 3339 as the device sent it.
    Column("time", String(64)),
    Column("model", _Name),
    Column("release", Integer),
    Column("payload", LargeBinary, nullable=False),
    Column("received", Double, nullable=False),
    UniqueConstraint("device", "stream", "seq"),
    UniqueConstraint("device", "result_id"),
    Index(None, "device", "received"),
    Index(None, "model", "received"),
)

# What was right for results. A correction is a new row; the row before stays as history.
feedback = Table(
    "feedback",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("device", _Name, nullable=False),
    Column("result_id", String(128), nullable=False),
    Column("label", String(128)),
    Column("value", Double),
    # Where it is known from, and when it was seen to be so: as it was given.
    Column("source", String(128)),
    Column("operator", _Name, nullable=False),
    Column("time", String(128)),
    Column("received", Double, nullable=False),
    # When another row took its place; null for the one that holds.
    Column("replaced", Double),
    # On its way to the device: `waiting`, `sent`, `taken`; `skipped` if replaced before, `unsent` if too many waited.
    Column("state", String(16), nullable=False),
    # Of the message that it was sent in.
    Column("number", BigInteger),
    Index(None, "device", "state"),
    Index(None, "result_id"),
    Index(
        "uq_feedback_current",
        "device",
        "result_id",
        unique=True,
        sqlite_where=text("replaced IS NULL"),
        postgresql_where=text("replaced IS NULL"),
    ),
)

# One row for each alarm, from the results that carry it: results are many, and their outcome is looked at nowhere else.
alarms = Table(
    "alarms",
    metadata,
    Column("device", _Name, primary_key=True),
    Column("alarm_id", String(64), primary_key=True),
    Column("pipeline", _Name, nullable=False),
    Column("source", Text, nullable=False),
    # As the newest result said; `cleared` stays.
    Column("state", String(16), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("text", Text),
    # Event times, RFC 3339 as the device sent them: of the result that raised it and of the newest one.
    Column("since", String(64)),
    Column("time", String(64)),
    # When the first and the newest result with it came.
    Column("first_received", Double, nullable=False),
    Column("received", Double, nullable=False),
    Index(None, "first_received"),
)

notes = Table(
    "notes",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("device", _Name, nullable=False),
    Column("stream", String(64), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("time", String(64)),
    Column("kind", String(32), nullable=False),
    Column("reason", String(64)),
    Column("detail", Text, nullable=False),
    Column("model", _Name),
    Column("release", Integer),
    Column("state", String(32)),
    Column("payload", LargeBinary, nullable=False),
    Column("received", Double, nullable=False),
    UniqueConstraint("device", "stream", "seq"),
    Index(None, "device", "id"),
)

# Durable messages that have a place in a stream but are not what their topic promises: kept, so that they can be acknowledged.
refused = Table(
    "refused",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("device", _Name, nullable=False),
    Column("channel", String(16), nullable=False),
    Column("stream", String(64), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received", Double, nullable=False),
    UniqueConstraint("device", "stream", "seq"),
)

commands = Table(
    "commands",
    metadata,
    Column("correlation", String(64), primary_key=True),
    Column("device", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("operator", _Name),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    # `ok` or `error` once answered; null before. That it expired is seen from `expires`.
    Column("status", String(16)),
    Column("reply", LargeBinary),
    Column("answered", Double),
    Index(None, "device", "created"),
)

logs = Table(
    "logs",
    metadata,
    Column("correlation", String(64), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("device", _Name, nullable=False),
    Column("last", Boolean, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("received", Double, nullable=False),
)

desired = Table(
    "desired",
    metadata,
    Column("device", _Name, primary_key=True),
    # Only grows.
    Column("revision", BigInteger, nullable=False),
    # Model name to {"release": number, "rollout": text or null}, with "shadow": false where it is to be skipped.
    Column("models", JSON, nullable=False),
    # {"name", "revision", "rollout"}; null: the device's own file alone.
    Column("configuration", JSON(none_as_null=True)),
    Column("changed", Double, nullable=False),
)

configurations = Table(
    "configurations",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("revision", Integer, primary_key=True),
    # `sha256:` and the hash of the bytes.
    Column("digest", String(80), nullable=False),
    Column("content", LargeBinary, nullable=False),
    # What it asks of a device: contract versions and the lowest version of the agent.
    Column("contract_low", Integer, nullable=False),
    Column("contract_high", Integer),
    Column("agent", String(64), nullable=False),
    Column("operator", _Name),
    Column("created", Double, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("model", _Name, primary_key=True),
    Column("release", Integer, primary_key=True),
    Column("version", String(64), nullable=False),
    # `sha256:` and the hash of the bundle.
    Column("digest", String(80), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("floor", Integer, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("created", Double, nullable=False),
    # Of each target: variant, digest, size and signed facts; null in rows from before there were variants.
    Column("variants", JSON(none_as_null=True)),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", _Serial, primary_key=True),
    # `model` or `configuration`: then `model` is its name and `release` its revision.
    Column("kind", String(16), nullable=False, server_default="model"),
    Column("model", _Name, nullable=False),
    Column("release", Integer, nullable=False),
    Column("version", String(64), nullable=False),
    Column("digest", String(80), nullable=False),
    # Of every variant, each of which a device may attest; null in rows from before there were variants.
    Column("digests", JSON(none_as_null=True)),
    # What the operator chose: selection, canary, soak (s), on_failure, timeout (s), shadow.
    Column("plan", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    # The wave that is under way, counted from 0.
    Column("wave", Integer, nullable=False),
    Column("waves", Integer, nullable=False),
    Column("reason", String(64)),
    Column("detail", Text),
    Column("operator", _Name),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
    Index(None, "state"),
)

rollout_devices = Table(
    "rollout_devices",
    metadata,
    Column("rollout", _Serial, ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True),
    Column("device", _Name, primary_key=True),
    Column("wave", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(64)),
    Column("detail", Text),
    # What was desired before; null when the device had no release of this model.
    Column("previous", Integer),
    # Of a configuration: the name that `previous` is a revision of.
    Column("previous_name", _Name),
    # The revision of the desired state that named the release.
    Column("revision", BigInteger),
    Column("assigned", Double),
    Column("attested", Double),
    # Since when it has been seen healthy with the new digest, without a gap; null while it is not.
    Column("healthy_since", Double),
)

operators = Table(
    "operators",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("role", String(16), nullable=False),
    # SHA-256 (hex) of the token.
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("time", Double, nullable=False),
    Column("operator", _Name, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Index(None, "time"),
)
