"""Secure aggregation and differential privacy as a rewrite of any framework's rounds.

What a framework's clients contribute is found by its protocol's own words: the uplink message that
the ``Gather`` is about. Steps sa1 to sa5 and dp1 and dp2 are added around it; no framework knows.

References
----------
Bonawitz et al. 2017, figure 4: ``sa1`` is its round 0 (AdvertiseKeys), ``sa2`` round 1 (ShareKeys),
``sa3`` with the masked upload round 2 (MaskedInputCollection), ``sa4`` round 4 (Unmasking), ``sa5``
the server's end of it. Round 3 (ConsistencyCheck) is against an active server and is left out, with
its signatures. Bell et al. 2020 run the same rounds among neighbors. See ``fedsim.spec.privacy``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fedsim.errors import ProtocolError, ScenarioError
from fedsim.protocol.framework import Framework
from fedsim.protocol.operation import (
    AddNoise,
    Aggregate,
    AgreeKeys,
    Clip,
    Content,
    MaskVector,
    OpenShares,
    ProcessKnowledge,
    RecoverSecrets,
    ShareSecrets,
)
from fedsim.protocol.payload import (
    Payload,
    encrypted_shares_payload,
    masked_payload,
    public_key_payload,
    shares_payload,
    survivors_payload,
)
from fedsim.protocol.step import (
    Compute,
    Direction,
    Each,
    Gather,
    Once,
    Protocol,
    Segment,
    Site,
    Step,
    Transfer,
    leaf_steps,
)
from fedsim.spec.dtype import dtype_bytes, is_float
from fedsim.spec.plan import ClientPlan
from fedsim.spec.privacy import PrivacySpec

__all__ = ["MASKED", "PRIVACY_STEPS", "masked_values", "summed_bits", "with_privacy"]

#: What is summed value by value, and what it is called once it is masked.
MASKED: Final = {
    Content.ADAPTERS: Content.MASKED_ADAPTERS,
    Content.LOGITS: Content.MASKED_LOGITS,
}
#: The added steps by name, in the order in which they happen.
PRIVACY_STEPS: Final = {
    "sa1": "make and advertise keys",
    "sa2": "receive keys, send shares of own secrets",
    "dp1": "clip, and add noise if it is local",
    "sa3": "receive shares, mask",
    "sa4": "who is left, and shares of their secrets",
    "sa5": "recover secrets, take masks away",
    "dp2": "add noise to the average",
}
#: Key pairs of a client, and its secrets that are shared: the mask key and the self mask's seed.
_NUM_KEY_PAIRS: Final = 2
_NUM_SECRETS: Final = 2


def with_privacy(
    framework: Framework, privacy: PrivacySpec, num_participants: int, num_dropouts: int = 0
) -> Framework:
    """A framework whose clients hide what they contribute.

    Parameters
    ----------
    framework : Framework
    privacy : PrivacySpec
        The framework itself comes back where nothing is hidden.
    num_participants : int
        n, the clients that a round asks: all of them exchange keys.
    num_dropouts : int
        Of these, the clients whose vectors do not count though they have shared keys; the server
        takes away the masks that others have with them. 0 is the base: a policy that goes on
        without the last ones makes it more, failures at random are not foreseen.

    Raises
    ------
    ScenarioError
        If there is no graph of neighbors of this size, or too few clients are left.
    """
    scheme = None
    if privacy.secure_aggregation is not None:
        scheme = _Scheme.of(privacy, num_participants, num_dropouts)
    noise = privacy.differential_privacy
    if scheme is None and noise is None:
        return framework

    def protected(plan: ClientPlan) -> Protocol:
        """The framework's protocol with the added steps."""
        protocol = framework(plan)
        place = _contribution(protocol)
        segments = list(protocol.round)
        each, once = segments[place.gather - 1], segments[place.gather + 1]
        assert isinstance(each, Each)
        assert isinstance(once, Once)
        upload, work = place.upload, once.steps
        early: tuple[Step, ...] = ()
        before: tuple[Step, ...] = ()
        behind: tuple[Segment, ...] = ()
        if noise is not None:
            before = _client_noise(upload.payload, place.num_plain, is_local=noise == "local")
            if noise == "central":
                work = _with_server_noise(work, place.num_plain, protocol.name)
        if scheme is not None:
            early, behind = scheme.key_steps(), (Each(scheme.unmasking_steps()),)
            before += scheme.masking_steps(place.num_values)
            upload = replace(upload, payload=scheme.masked(place))
            work = scheme.server_steps(place.num_values) + work
        steps = each.steps
        new = (*early, *steps[: place.step], *before, upload, *steps[place.step + 1 :])
        segments[place.gather - 1 : place.gather + 2] = [
            Each(new),
            protocol.round[place.gather],
            *behind,
            Once(work),
        ]
        return replace(protocol, round=tuple(segments))

    return replace(framework, build=protected)


def masked_values(protocol: Protocol) -> int:
    """Length of the vector that a client masks; 0 without secure aggregation."""
    for segment in protocol.round:
        if isinstance(segment, Each):
            for _, step in leaf_steps(segment.steps):
                if isinstance(step, Compute) and isinstance(step.operation, MaskVector):
                    return step.operation.num_values
    return 0


def summed_bits(protocol: Protocol) -> int:
    """Bits of a value of what clients contribute, on the wire and ahead of any mask.

    Raises
    ------
    ProtocolError
        If there is no contribution that can be summed value by value.
    """
    return _contribution(protocol).value_bits


@dataclass(frozen=True, slots=True)
class _Contribution:
    """Where a round's contribution stands: number of its Gather, of its step, and the message.

    ``num_values`` of ``value_bits`` are summed, and ``num_plain`` there ahead of the codec.
    """

    gather: int
    step: int
    upload: Transfer
    num_values: int
    num_plain: int
    value_bits: int


@dataclass(frozen=True, slots=True)
class _Scheme:
    """Secure aggregation in numbers: n clients with k neighbors, h shares of which t recover."""

    privacy: PrivacySpec
    n: int
    k: int
    h: int
    t: int
    num_dropouts: int

    @classmethod
    def of(cls, privacy: PrivacySpec, n: int, num_dropouts: int) -> _Scheme:
        """The numbers that follow from the choice, checked."""
        k, h, t = privacy.num_neighbors(n), privacy.num_shares(n), privacy.threshold(n)
        # Of a client's h holders the share (n - d) / n are still there, in the mean.
        if h * (n - num_dropouts) < t * n:
            raise ScenarioError(
                f"secure aggregation of {n:,} clients without {num_dropouts:,} of them: {t:,} of "
                f"{h:,} shares recover a secret and fewer are left; await more of the clients, or "
                "ask fewer beyond those that are awaited."
            )
        return cls(privacy, n, k, h, t, num_dropouts)

    def key_steps(self) -> tuple[Step, ...]:
        """Keys and shares, ahead of everything else: sa1, sa2.

        In truth everybody waits for the slowest between these messages. They stand at the start of
        the round, where clients are together still, and no words for that wait exist inside of an
        Each; in an Each of their own, they alone could fail.
        """
        keys, shares = public_key_payload(self.k), encrypted_shares_payload(self.k)
        sharing = ShareSecrets(_NUM_SECRETS, self.h, self.t, self.k)
        return (
            Compute("sa1", Site.CLIENT, AgreeKeys(_NUM_KEY_PAIRS)),
            Transfer("sa1", Direction.UP, public_key_payload(1)),
            Transfer("sa2", Direction.DOWN, keys),
            # Keys under which the shares travel; those of the masks are agreed on when needed.
            Compute("sa2", Site.CLIENT, AgreeKeys(self.k)),
            Compute("sa2", Site.CLIENT, sharing),
            Transfer("sa2", Direction.UP, shares),
        )

    def masking_steps(self, num_values: int) -> tuple[Step, ...]:
        """What precedes the masked upload: sa3, a mask with each neighbor and one's own."""
        return (
            Transfer("sa3", Direction.DOWN, encrypted_shares_payload(self.k)),
            Compute("sa3", Site.CLIENT, AgreeKeys(self.k)),
            Compute("sa3", Site.CLIENT, MaskVector(num_values, self.k + 1)),
        )

    def masked(self, place: _Contribution) -> Payload:
        """The message instead of the plain one."""
        bits = self.privacy.ring_bits(self.n, place.value_bits)
        content = place.upload.payload.content
        return masked_payload(MASKED[content], place.num_values, bits)

    def unmasking_steps(self) -> tuple[Step, ...]:
        """Who is left, and the shares that the server needs now: sa4."""
        return (
            Transfer("sa4", Direction.DOWN, survivors_payload(self.h)),
            Compute("sa4", Site.CLIENT, OpenShares(self.k)),
            Transfer("sa4", Direction.UP, shares_payload(self.h)),
        )

    def server_steps(self, num_values: int) -> tuple[Step, ...]:
        """Recover secrets, expand the masks that do not cancel, and take them away: sa5.

        Self masks of all whose vectors came; and the masks between these and the others. Two that
        dropped out left none behind (Bonawitz et al., figure 4: u in U3, v in U2 without U3).
        """
        # All clients of a complete graph have the same holders, so the same coefficients.
        num_sets = 1 if self.privacy.secure_aggregation == "secagg" else self.n
        left = self.n - self.num_dropouts
        # d (n - d) pairs of a complete graph, and the share k / (n - 1) of them in the mean over
        # who drops out of any other; rounded up.
        pairs = -(-self.num_dropouts * left * self.k // (self.n - 1))
        masks = left + pairs
        steps: tuple[Step, ...] = (
            Compute("sa5", Site.SERVER, RecoverSecrets(self.n, num_sets, self.t)),
        )
        if pairs:
            steps += (Compute("sa5", Site.SERVER, AgreeKeys(pairs)),)
        return (*steps, Compute("sa5", Site.SERVER, MaskVector(num_values, masks)))


def _contribution(protocol: Protocol) -> _Contribution:
    """The one message a client that is summed.

    Raises
    ------
    ProtocolError
        If there is none, or it cannot be summed value by value.
    """
    gathers = [i for i, s in enumerate(protocol.round) if isinstance(s, Gather)]
    shape = [type(s) for s in protocol.round[gathers[0] - 1 : gathers[0] + 2]] if gathers else []
    if len(gathers) != 1 or shape != [Each, Gather, Once]:
        raise ProtocolError(
            f"framework '{protocol.name}': secure aggregation and differential privacy need a "
            "round with one Gather, between an Each and a Once."
        )
    gather = protocol.round[gathers[0]]
    each = protocol.round[gathers[0] - 1]
    assert isinstance(gather, Gather)
    assert isinstance(each, Each)
    found = [
        (index, step)
        for index, step in enumerate(each.steps)
        if isinstance(step, Transfer)
        and step.direction is Direction.UP
        and step.label == gather.label
    ]
    if len(found) != 1:
        raise ProtocolError(
            f"framework '{protocol.name}': the server gathers '{gather.label}', which is not one "
            "message a client and round; only that can be masked, clipped or made noisy as a sum."
        )
    index, upload = found[0]
    payload = upload.payload
    if payload.content not in MASKED:
        raise ProtocolError(
            f"framework '{protocol.name}': '{upload.label}' carries {payload.content.value}, which "
            f"the server does not sum; allowed: {', '.join(c.value for c in MASKED)}."
        )
    codec = payload.codec
    if codec is not None and not codec.facts.is_summable:
        raise ProtocolError(
            f"framework '{protocol.name}': '{upload.label}' goes through {codec!r}, whose messages "
            f"do not add up value by value; leave the codec of {payload.content.value} up out, or "
            "send it as 'float16' or 'bfloat16'."
        )
    # Top-m logits stand at other places for every client.
    if not all(is_float(tensor.dtype) for tensor in payload.plain_tensors):
        raise ProtocolError(
            f"framework '{protocol.name}': '{upload.label}' sends values with their places, which "
            "differ between clients and cannot be summed value by value; send all logits."
        )
    return _Contribution(
        gathers[0],
        index,
        upload,
        num_values=sum(tensor.num_values for tensor in payload.tensors),
        num_plain=sum(tensor.num_values for tensor in payload.plain_tensors),
        value_bits=max((8 * dtype_bytes(tensor.dtype) for tensor in payload.tensors), default=32),
    )


def _client_noise(payload: Payload, num_values: int, *, is_local: bool) -> tuple[Step, ...]:
    """What a client does to its own vector: dp1."""
    # Adapters are clipped as the change since the round began; logits are no change of anything.
    clip = Clip(num_values, is_difference=payload.content is Content.ADAPTERS)
    steps: tuple[Step, ...] = (Compute("dp1", Site.CLIENT, clip),)
    if is_local:
        steps += (Compute("dp1", Site.CLIENT, AddNoise(num_values)),)
    return steps


def _with_server_noise(steps: tuple[Step, ...], num_values: int, name: str) -> tuple[Step, ...]:
    """The server's steps with noise right behind the average: dp2."""
    for index, step in enumerate(steps):
        if isinstance(step, Compute) and isinstance(step.operation, Aggregate | ProcessKnowledge):
            added = Compute("dp2", Site.SERVER, AddNoise(num_values))
            return (*steps[: index + 1], added, *steps[index + 1 :])
    raise ProtocolError(
        f"framework '{name}': the server averages nothing to which it could add noise; choose "
        "differential_privacy = 'local'."
    )
