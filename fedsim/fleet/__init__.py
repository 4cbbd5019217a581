"""A federation's clients one by one, and what both simulating engines agree on beforehand."""

from fedsim.fleet.rounds import Rounds
from fedsim.fleet.simulation import Simulation, SimulationResult, prepare

__all__ = ["Rounds", "Simulation", "SimulationResult", "prepare"]
