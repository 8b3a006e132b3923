"""The kinds of variants, by the names that they have on the command line and in versions."""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a variant is made."""

    INT8 = "int8"
    INT8_STATIC = "int8-static"
    INT4 = "int4"
    FP16 = "fp16"
    PRUNED = "pruned"


MEANING: Final = {
    Kind.INT8: "weights int8 for each channel, activations measured anew for each input",
    Kind.INT8_STATIC: "weights and activations int8, ranges fixed from --calibration",
    Kind.INT4: "matrices int4 in blocks of 32, embeddings int8, activations as they are",
    Kind.FP16: "everything float16, inputs and outputs as they are",
    Kind.PRUNED: "the hidden units that matter least taken out (--prune), judged on --calibration if there is one",
}
CALIBRATED: Final = frozenset({Kind.INT8_STATIC, Kind.PRUNED})
"""Kinds that take calibration samples."""
