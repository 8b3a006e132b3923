"""From what went wrong in the trust child to a reason code, and whether another attempt may work."""

import errno
import re
from typing import Final

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)

from edge_agent.updates.trust.fetcher import BeyondBudget, RefusedByServer
from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason

TEMPORARY_STATUS: Final = frozenset({401, 403, 408, 425, 429})
"""Besides all of 5xx. 401 and 403 too: an operator can put a new token file in place, and it is read at each attempt."""
_OLDER: Final = re.compile(r"must be >= \d+|Expected \S+\.json version")
_SOME_SIGNED: Final = re.compile(r"signed by [1-9]\d*/")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Refusal(Exception):
    """The job cannot be done."""

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        temporary: bool = False,
        retry_after: float | None = None,
        needed: int = 0,
    ) -> None:
        """`retry_after`: seconds to wait at least before the next attempt, if the server asks for that.

        `needed`: bytes that the data budget would have to hold.
        """
        super().__init__(detail)
        self.needed = needed
        self.reason = reason
        self.temporary = temporary
        self.retry_after = retry_after


def judge(error: Exception, what: str) -> Refusal:
    """Name an error that came up while doing `what`. An error that nobody foresaw is temporary: attempts are bounded."""
    detail = f"{what}: {_describe(error)}"
    match error:
        case Refusal():
            return error
        case BeyondBudget():
            return Refusal(Reason.DATA_BUDGET, detail, temporary=True, needed=error.needed)
        case BundleError():
            return Refusal(error.reason, detail)
        case ExpiredMetadataError():
            return Refusal(Reason.METADATA_EXPIRED, detail, temporary=True)
        case BadVersionNumberError():
            # The library has one error for both, and only its text tells an older document from one of another set.
            older = _OLDER.search(str(error)) is not None
            return Refusal(Reason.METADATA_ROLLBACK if older else Reason.METADATA_MISMATCH, detail)
        case LengthOrHashMismatchError():
            return Refusal(Reason.METADATA_MISMATCH, detail)
        case DownloadLengthMismatchError():
            return Refusal(Reason.METADATA_TOO_LARGE, detail)
        case UnsignedMetadataError():
            some = _SOME_SIGNED.search(str(error)) is not None
            return Refusal(Reason.THRESHOLD_NOT_MET if some else Reason.SIGNATURE_INVALID, detail)
        case RepositoryError():
            return Refusal(Reason.METADATA_INVALID, detail)
        case DownloadHTTPError():
            status = error.status_code
            temporary = status >= 500 or status in TEMPORARY_STATUS
            asked = error.retry_after if isinstance(error, RefusedByServer) else None
            return Refusal(Reason.DOWNLOAD_FAILED, detail, temporary=temporary, retry_after=asked)
        case DownloadError():
            return Refusal(Reason.DOWNLOAD_FAILED, detail, temporary=True)
        case OSError() if error.errno in _FULL:
            return Refusal(Reason.DISK_FULL, detail, temporary=True)
        case _:
            return Refusal(Reason.DOWNLOAD_FAILED, detail, temporary=True)


def _describe(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    cause = error.__cause__
    return f"{text} ({_describe(cause)})" if cause is not None else text
