"""Whether a licence expression names licences that are on the SPDX list, with the parser and the list of `packaging`."""

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason


def check_spdx(expression: str) -> None:
    """Raise BundleError for a word that is no SPDX licence or exception; `LicenseRef-…` is one's own."""
    try:
        canonicalize_license_expression(expression)
    except InvalidLicenseExpression as error:
        raise BundleError(Reason.LICENCE_INVALID, f"licence: {error}") from error
