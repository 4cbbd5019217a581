"""Cohort mode: many clients through the shared, frozen network at once."""

from fedsim.runtime.cohort.client import CohortClient
from fedsim.runtime.cohort.cohort_trainer import CohortTrainer
from fedsim.runtime.cohort.executor import CohortExecutor
from fedsim.runtime.cohort.network import CohortNetwork

__all__ = [
    "CohortClient",
    "CohortExecutor",
    "CohortNetwork",
    "CohortTrainer",
]
