"""A simulated day at a bank's ATMs: pictures, manifest and ground truth, drawn from any folder of people."""

from pathlib import Path

from deploy.simulator.compare import Comparison, compare
from deploy.simulator.options import SimulationOptions
from deploy.simulator.plan import plan_day
from deploy.simulator.truth import ExpectedAlert, GroundTruth, TrueEvent, TruePerson, Who, read_truth
from deploy.simulator.write import simulate

FACES = Path(__file__).parent / "faces"
"""Five public-domain portraits of three people, for the demo."""

__all__ = [
    "FACES",
    "Comparison",
    "ExpectedAlert",
    "GroundTruth",
    "SimulationOptions",
    "TrueEvent",
    "TruePerson",
    "Who",
    "compare",
    "plan_day",
    "read_truth",
    "simulate",
]
