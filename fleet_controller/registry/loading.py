"""Holds tensors and operators of a manifest against the model file by loading it, as a device does, in a process of its own."""

import logging
from pathlib import Path
from typing import Final

from fleet_contract.bundle import BundleError
from fleet_contract.reasons import Reason
from fleet_controller.variants.evaluation import EvaluationError, evaluate

log = logging.getLogger(__name__)

LIES: Final = frozenset(
    {
        Reason.EXTERNAL_DATA,
        Reason.FOREIGN_OPERATOR,
        Reason.MANIFEST_INVALID,
        Reason.MODEL_FILE_INVALID,
        Reason.TENSOR_MISMATCH,
    }
)
"""What no device takes. Another failure may be this machine's: its runtime is missing, too old, or out of memory."""


def check_loads(bundle: Path) -> None:
    """Raise BundleError where the manifest lies about the model file; what cannot be found out here is logged and let pass."""
    try:
        failed = evaluate(bundle, load_only=True).failed
    except EvaluationError as error:
        failed = (Reason.LOAD_FAILED.value, str(error))
    if failed is None:
        return
    reason, text = failed
    if reason in LIES:
        raise BundleError(Reason(reason), text)
    log.warning("a bundle could not be loaded here and is published unseen", extra={"reason": reason, "detail": text})
