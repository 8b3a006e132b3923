"""What every part of the manifest is made of: strict records, and the error that names the key and carries the reason code."""

from msgspec import Struct

from fleet_contract.reasons import Reason


class ManifestError(ValueError):
    """The manifest is wrong; the text names the key and says what it should be. `reason` is the code that travels."""

    def __init__(self, text: str, reason: Reason = Reason.MANIFEST_INVALID) -> None:
        super().__init__(text)
        self.reason = reason


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """The base of all manifest records."""
