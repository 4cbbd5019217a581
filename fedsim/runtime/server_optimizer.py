"""What the server does with an average of clients' parameters, beyond taking it as it is.

The difference between the average and the global parameters is read as a gradient, and an optimizer
at the server steps along it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fedsim.runtime.options import FedAdamOptions

__all__ = ["FedAdam"]


class FedAdam:
    r"""Adam at the server.

    Parameters
    ----------
    options : FedAdamOptions

    Notes
    -----
    With :math:`\Delta_t` the average less the global parameters :math:`x_t`, for each value:

    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) \Delta_t \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) \Delta_t^2 \\
        x_{t+1} &= x_t + \eta\, m_t / (\sqrt{v_t} + \tau)

    with :math:`m_{-1} = 0` and :math:`v_{-1} = \tau^2`, the least that the paper allows. Moments
    are not corrected for their start, as in the paper. The average is weighted by the clients'
    numbers of samples where the paper's is not. Computed in 64-bit floats.

    References
    ----------
    Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan 2021, "Adaptive Federated
    Optimization", ICLR, arXiv 2003.00295, Algorithm 2.
    """

    def __init__(self, options: FedAdamOptions) -> None:
        self.options = options
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}

    def step(
        self, group: str, current: Mapping[str, Tensor], average: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The next global parameters.

        Parameters
        ----------
        group : str
            Tells parameters of one name apart that are averaged separately.
        current, average : mapping of str to Tensor
            Global parameters at the start of the round, and what the clients made of them.
        """
        own = self.options
        result = {}
        for name, mean in average.items():
            start = current[name].to(torch.float64)
            change, key = mean.to(torch.float64) - start, f"{group}/{name}"
            first = self._first.get(key, torch.zeros_like(change))
            second = self._second.get(key, torch.full_like(change, own.tau**2))
            first = own.beta1 * first + (1 - own.beta1) * change
            second = own.beta2 * second + (1 - own.beta2) * change**2
            self._first[key], self._second[key] = first, second
            step = own.learning_rate * first / (second.sqrt() + own.tau)
            result[name] = (start + step).to(current[name].dtype)
        return result

    def tensors(self) -> dict[str, Tensor]:
        """Both moments, by name."""
        return {
            f"{moment}/{key}": tensor
            for moment, tensors in (("m", self._first), ("v", self._second))
            for key, tensor in tensors.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the moments of :meth:`tensors` again."""
        for name, tensor in tensors.items():
            moment, _, key = name.partition("/")
            (self._first if moment == "m" else self._second)[key] = tensor
