"""How well templates tell people apart, how sure that is, for whom it is worse, and what else templates give away."""

from embedder.evaluation.calibration import fit_calibration
from embedder.evaluation.metrics import FMR_TARGETS, Acquisition, VerificationReport, verification

__all__ = ["FMR_TARGETS", "Acquisition", "VerificationReport", "fit_calibration", "verification"]
