"""Secure aggregation and differential privacy as choices of a federation: what they cost follows.

Decides the graph of neighbors, the threshold and the ring. It claims no security level, no epsilon
and no effect on accuracy.

References
----------
Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017,
doi:10.1145/3133956.3133982. Bell et al., Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead, CCS 2020, doi:10.1145/3372297.3417885. McMahan et al., Learning Differentially Private
Recurrent Language Models, ICLR 2018, arXiv 1710.06963.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fedsim.errors import ScenarioError

__all__ = ["DifferentialPrivacy", "PrivacySpec", "SecureAggregation"]

SecureAggregation = Literal["secagg", "secagg+"]
DifferentialPrivacy = Literal["central", "local"]

#: As many as the widest payload has. With up to 2^32 clients a value of the sum still fits into a
#: 64-bit word, in which the masks' operations are counted.
_MAX_QUANTIZATION_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class PrivacySpec:
    """What hides a client's contribution.

    Attributes
    ----------
    secure_aggregation : {"secagg", "secagg+"} or None
        Masks that cancel in the sum, between all pairs of clients (Bonawitz et al. 2017) or between
        neighbors in a regular graph (Bell et al. 2020); the variants against a server that is
        honest but curious.
    neighbors : int or None
        k of ``secagg+``. None: :meth:`num_neighbors` follows the number of clients.
    quantization_bits : int or None
        Of a value ahead of the sum. None: as many as the payload's format has, so that what is
        added is secure aggregation's alone.
    differential_privacy : {"central", "local"} or None
        Clients clip what they send; the server adds Gaussian noise to what it aggregated, or each
        client to its own (after McMahan et al. 2018).
    """

    secure_aggregation: SecureAggregation | None = None
    neighbors: int | None = None
    quantization_bits: int | None = None
    differential_privacy: DifferentialPrivacy | None = None

    def __post_init__(self) -> None:
        if self.neighbors is not None:
            if self.secure_aggregation != "secagg+":
                raise ScenarioError(
                    f"privacy.neighbors = {self.neighbors}: no meaning unless secure_aggregation "
                    "= 'secagg+'; leave it out."
                )
            if self.neighbors < 1:
                raise ScenarioError(f"privacy.neighbors = {self.neighbors}; at least 1 is needed.")
        bits = self.quantization_bits
        if bits is None:
            return
        if self.secure_aggregation is None:
            raise ScenarioError(
                f"privacy.quantization_bits = {bits}: no meaning without secure aggregation; leave "
                "it out, or set secure_aggregation = 'secagg'."
            )
        if not 1 <= bits <= _MAX_QUANTIZATION_BITS:
            raise ScenarioError(
                f"privacy.quantization_bits = {bits}; allowed: 1 to {_MAX_QUANTIZATION_BITS}."
            )

    def num_neighbors(self, num_participants: int) -> int:
        """Clients with whom each one shares a mask.

        All others in ``secagg``. In ``secagg+`` the number that was given, or ``2 ceil(log2 n)``
        and no more than all others. Bell et al. prove that a degree of order ``log n`` suffices;
        their constant depends on how many clients may drop out or collude and on the level of
        security (10,000 clients of whom 5 % each do: 3 % of them, 300 neighbors, against a
        semi-malicious server). The factor 2 here makes every graph possible and is no such level.

        Raises
        ------
        ScenarioError
            If there is no such regular graph.
        """
        others = num_participants - 1
        if others < 1:
            raise ScenarioError(
                "secure aggregation of 1 client: its sum is that client's own vector; a round must "
                "ask at least 2 clients."
            )
        if self.secure_aggregation == "secagg":
            return others
        if self.neighbors is None:
            # The next integer above log2 of what is below n, exactly.
            return min(2 * others.bit_length(), others)
        if self.neighbors > others:
            raise ScenarioError(
                f"privacy.neighbors = {self.neighbors}: a round asks {num_participants:,} clients; "
                f"allowed: at most {others:,}."
            )
        if self.neighbors * num_participants % 2:
            raise ScenarioError(
                f"privacy.neighbors = {self.neighbors}: a graph of {num_participants:,} clients "
                "that have an odd number of neighbors each needs an even number of clients; write "
                f"{self.neighbors + 1}."
            )
        return self.neighbors

    def num_shares(self, num_participants: int) -> int:
        """Shares into which each secret is split: all clients keep one in ``secagg``."""
        if self.secure_aggregation == "secagg":
            return num_participants
        return self.num_neighbors(num_participants)

    def threshold(self, num_participants: int) -> int:
        """Shares that recover a secret: more than two thirds of them.

        What Bonawitz et al. ask for where the server may collude with clients; Bell et al. choose
        it with the number of neighbors.
        """
        return 2 * self.num_shares(num_participants) // 3 + 1

    def ring_bits(self, num_participants: int, payload_bits: int) -> int:
        """Bits of a value of the sum: ``bits + ceil(log2 n)``, so that no sum overflows.

        Bonawitz et al. (section 4) sum in ``n (2^bits - 1) + 1`` values, which needs the same
        number of bits for all ``n <= 2^bits``.
        """
        bits = self.quantization_bits or payload_bits
        return bits + (num_participants - 1).bit_length()
