"""How accuracy grows with rounds: curves that were measured, a law fitted to them, its errors."""

from fedsim.learning.check import CurveErrors, check_curves, coverage, group_laws
from fedsim.learning.curves import CurveGroup, Curves, Run, read_curves, write_curves
from fedsim.learning.fit import fit_configuration, fit_group
from fedsim.learning.law import LearningLaw, Prediction, Unseen
from fedsim.learning.reach import Measured
from fedsim.learning.store import Laws, curves_hash, read_laws, write_laws

__all__ = [
    "CurveErrors",
    "CurveGroup",
    "Curves",
    "Laws",
    "LearningLaw",
    "Measured",
    "Prediction",
    "Run",
    "Unseen",
    "check_curves",
    "coverage",
    "curves_hash",
    "fit_configuration",
    "fit_group",
    "group_laws",
    "read_curves",
    "read_laws",
    "write_curves",
    "write_laws",
]
