"""Scenarios whose answer was worked out by hand: what each is, and its arithmetic.

GPT-2 (12 blocks of width 768), 77 classes, texts padded to 80 tokens, LoRA of rank 8 on ``c_attn``,
batches of 16, 160 samples a client. Every device does 1 TFLOP/s and moves bytes and launches
operators in no time; links carry 1 MB/s up and 10 MB/s down, without round trips. Then a round of
FedLLM is three times, from which the rest follows:

- ``D``, the adapters come down;
- ``F``, ten batches are trained on;
- ``U``, the adapters go up.

The second half of the scenarios, with a cut model, is in ``by_hand_split``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BATCH_SAMPLES",
    "HEAD_FLOP",
    "MESSAGE",
    "TOKENS",
    "WIDTH",
    "D",
    "F",
    "Scenario",
    "U",
    "clients",
    "equal",
    "fedllm",
]

BLOCKS, WIDTH, TOKENS, CLASSES, RANK, BATCH_SAMPLES = 12, 768, 80, 77, 8, 16

#: 2 FLOP for each product of a token's value and a weight: 12 d^2 weights a block forward, the same
#: for the gradient of its input (frozen weights get none), and attention's T^2 products twice
#: forward and four times backward. The lowest block's c_attn (3 d^2) passes no gradient on, and of
#: the head (d C) the product and both gradients are computed.
_FORWARD = 24 * TOKENS * WIDTH**2 + 4 * TOKENS**2 * WIDTH
_BACKWARD = 24 * TOKENS * WIDTH**2 + 8 * TOKENS**2 * WIDTH
_SAVED = 6 * TOKENS * WIDTH**2
HEAD_FLOP = 6 * TOKENS * WIDTH * CLASSES
SAMPLE_FLOP = BLOCKS * (_FORWARD + _BACKWARD) - _SAVED + HEAD_FLOP
assert SAMPLE_FLOP == 27_632_148_480
#: Adapters' skinny products are priced by the bytes that they move, here by nothing, and counted:
#: three times 8 T d r in each block, and the lowest adapter passes no gradient on (2 T d r).
LORA_FLOP = (BLOCKS * 24 - 2) * TOKENS * WIDTH * RANK
assert SAMPLE_FLOP + LORA_FLOP == 27_772_723_200
BATCH_FLOP = BATCH_SAMPLES * (SAMPLE_FLOP + LORA_FLOP)

#: 160 samples at 10^12 FLOP/s [s].
F = 160 * SAMPLE_FLOP / 1e12
#: Two factors a block of d x r and r x 3 d, the head of 77 x d, 4 B a value; and 3,112 B of header
#: for 25 tensors [B].
MESSAGE = 4 * (BLOCKS * RANK * (WIDTH + 3 * WIDTH) + CLASSES * WIDTH) + 3_112
assert MESSAGE == 1_419_304
#: [s].
U, D = MESSAGE / 1e6, MESSAGE / 1e7

HEAD = """
question = "what is it by hand?"
engine = "auto"
seed = 0
[model]
name = "gpt2"
num_classes = 77
[lora]
r = 8
target_modules = ["attn.c_attn"]
[workload]
max_tokens = 80
batch_size = 16
samples_per_client = 160
num_rounds = 1
[device]
compute = "1 TFLOP/s"
memory_bandwidth = "1e15 GB/s"
operator_time = "0 s"
uncertainty = 0
[link]
uplink = "8 Mbit/s"
downlink = "80 Mbit/s"
round_trip = "0 s"
connection = "reused"
initial_window = "0 B"
payload_fraction = 1.0
[server.device]
compute = "1 TFLOP/s"
memory_bandwidth = "1e15 GB/s"
operator_time = "0 s"
uncertainty = 0
[split]
cut_layer = 4
"""

#: What the closed form does: answers exactly, answers a lower bound and says so, or refuses.
Closed = Literal["exact", "bound", "refuses"]


@dataclass(frozen=True)
class Scenario:
    """A scenario and its answer by hand.

    Attributes
    ----------
    name : str
    seconds : float
        End of its last round [s].
    text : str
        Tables behind :data:`HEAD`.
    sets : tuple of str
        Keys of :data:`HEAD` that are changed.
    closed : {"exact", "bound", "refuses"}
    counts : tuple of int or None
        Contributions that were used, came late and were lost.
    wasted_flop : int or None
    engines : tuple of str
        The simulating engines that know it.
    """

    name: str
    seconds: float
    text: str = ""
    sets: tuple[str, ...] = ()
    closed: Closed = "refuses"
    counts: tuple[int, int, int] | None = None
    wasted_flop: int | None = None
    framework: str = "fedllm"
    engines: tuple[str, ...] = ("des", "scale")

    def __str__(self) -> str:
        return self.name

    @property
    def toml(self) -> str:
        """The scenario's file."""
        case = f'\n[[case]]\nname = "one"\nframework = "{self.framework}"\n'
        return HEAD + self.text + case


def clients(*slowdowns: float) -> str:
    """A class of one client for each slowdown of its device."""
    return "".join(
        f'[[fleet.class]]\nname = "{i}"\nnum_clients = 1\ndevice = {{ slowdown = {slowdown} }}\n'
        for i, slowdown in enumerate(slowdowns)
    )


def equal(num: int) -> str:
    """So many clients that are alike."""
    return f"[fleet]\nnum_clients = {num}\n"


def alone() -> Scenario:
    """Down, compute, up; no other client and no server's work."""
    return Scenario("one client alone", D + F + U, equal(1), closed="exact", counts=(1, 0, 0))


def ten_equal() -> Scenario:
    """All begin to send at once, and the server's 4 MB/s carry ten messages one after the other."""
    seconds = D + F + 10 * MESSAGE / 4e6
    sets = ("server.uplink=32 Mbit/s",)
    return Scenario("ten behind 4 MB/s", seconds, equal(10), sets, "bound")


def two_overlapping() -> Scenario:
    """One is 5 % slower: the other sends alone at 1 MB/s, then both at 0.75, then it alone."""
    ahead_s = 0.05 * F
    ahead = ahead_s * 1e6
    both_s = (MESSAGE - ahead) / 0.75e6
    # What the second has left when the first is through is what the first was ahead.
    seconds = D + F + ahead_s + both_s + ahead / 1e6
    sets = ("server.uplink=12 Mbit/s",)
    return Scenario("two behind 1.5 MB/s", seconds, clients(1.0, 1.05), sets, "bound")


def _three_rates(megabit_per_s: Sequence[float]) -> str:
    return "".join(
        f'[[fleet.class]]\nname = "{i}"\nnum_clients = 1\nlink = {{ uplink = "{rate} Mbit/s" }}\n'
        for i, rate in enumerate(megabit_per_s)
    )


def slowest_has_its_own_rate() -> Scenario:
    """0.5, 1 and 4 MB/s share 3 MB/s: the first gets its 0.5 all the time, and is the last."""
    sets = ("server.uplink=24 Mbit/s",)
    return Scenario(
        "0.5, 1, 4 MB/s behind 3", D + F + MESSAGE / 0.5e6, _three_rates([4, 8, 32]), sets, "bound"
    )


def others_share_what_is_left() -> Scenario:
    """0.25, 1 and 4 MB/s share 1 MB/s: 0.25 for the first, 0.375 each for the others until then."""
    others_s = MESSAGE / 0.375e6
    left = MESSAGE - 0.25e6 * others_s
    seconds = D + F + others_s + left / 0.25e6
    sets = ("server.uplink=8 Mbit/s",)
    return Scenario("0.25, 1, 4 MB/s behind 1", seconds, _three_rates([2, 8, 32]), sets, "bound")


def quorum() -> Scenario:
    """Three of four, with slowdowns of 1 to 4: the third closes the round."""
    text = clients(1, 2, 3, 4) + "[policy]\nquorum = 3\n"
    return Scenario("quorum of 3 in 4", D + 3 * F + U, text, counts=(3, 1, 0))


def deadline() -> Scenario:
    """2.5 F + U after the start of sending down: two are through, two stop where they are.

    A batch takes the third 3 F / 10 and the fourth 4 F / 10; in 2.5 F + U they finish 9 and 7.
    """
    within_s = 2.5 * F + U
    batches = int(within_s / (3 * F / 10)) + int(within_s / (4 * F / 10))
    assert batches == 9 + 7
    text = clients(1, 2, 3, 4) + f'[policy]\ndeadline = "{D + within_s!r} s"\n'
    wasted = batches * BATCH_FLOP
    assert wasted == 7_109_817_139_200
    return Scenario("deadline", D + within_s, text, counts=(2, 2, 0), wasted_flop=wasted)


def over_selection() -> Scenario:
    """Two are wanted and the fastest three asked: the second closes, the third finished 7."""
    within_s = 2 * F + U
    batches = int(within_s / (3 * F / 10))
    assert batches == 7
    policy = 'clients_per_round = 2\nover_selection = 0.5\nselection = "resource"\n'
    return Scenario(
        "over-selection",
        D + within_s,
        clients(1, 2, 3, 4) + "[policy]\n" + policy,
        counts=(2, 1, 0),
        wasted_flop=batches * BATCH_FLOP,
    )


def _cycles(*slowdowns: float) -> list[float]:
    """When clients contribute who start over at once, the soonest first."""
    return sorted(n * (D + s * F + U) for s in slowdowns for n in range(1, 20))


def buffer_of_one() -> Scenario:
    """Slowdowns 1 and 3: every contribution is a version, and the sixth is the second's second."""
    assert _cycles(1, 3)[5] == 2 * (D + 3 * F + U)
    text = clients(1, 3) + '[policy]\nmode = "buffered"\nbuffer_size = 1\n'
    return Scenario("buffer of 1", _cycles(1, 3)[5], text, ("workload.num_rounds=6",))


def buffer_of_two() -> Scenario:
    """The fourth version is the eighth contribution, the first client's sixth."""
    assert _cycles(1, 3)[7] == 6 * (D + F + U)
    text = clients(1, 3) + '[policy]\nmode = "buffered"\nbuffer_size = 2\n'
    return Scenario("buffer of 2", _cycles(1, 3)[7], text, ("workload.num_rounds=4",))


def windows() -> Scenario:
    """Five windows of 5 s: one contributes at 5.98 and, from 10 s on, at 15.98; one at 14.82.

    Both have started again by the end and are late then; the first and the last window are empty.
    """
    assert 5 < D + F + U < 10
    assert 10 < D + 3 * F + U < 15
    text = clients(1, 3) + '[policy]\nmode = "windowed"\nwindow = "5 s"\n'
    return Scenario("windows", 25.0, text, ("workload.num_rounds=5",), counts=(3, 2, 0))


def rate_trace(file: str = "trace.csv") -> Scenario:
    """From 5 s on the link has a quarter of its rate, while the message is on its way."""
    sent = (5.0 - D - F) * 1e6
    seconds = 5.0 + (MESSAGE - sent) / 0.25e6
    sets = (f"link.trace={file}", "link.trace_period=1000 s")
    return Scenario("rate trace", seconds, equal(1), sets)


def nights() -> Scenario:
    """There for 8 s a day from 1 h on: the second round does not fit into what the first left."""
    assert D + F + U < 8 < 2 * (D + F + U)
    hours = '[fleet.availability]\nkind = "diurnal"\nstart = "1 h"\nduration = "8 s"\n'
    return Scenario(
        "8 s a day",
        86_400 + 3_600 + D + F + U,
        equal(1) + hours,
        ("workload.num_rounds=3",),
        counts=(2, 0, 1),
    )


def nights_with_retries() -> Scenario:
    """The second round is tried again a day later, and so the third is another day later."""
    nightly = nights()
    return Scenario(
        "8 s a day, retries",
        2 * 86_400 + 3_600 + D + F + U,
        nightly.text + "[policy]\nretries = 5\n",
        nightly.sets,
        counts=(3, 0, 0),
    )


def fedllm() -> tuple[Scenario, ...]:
    """All of these."""
    found = (
        alone, ten_equal, two_overlapping, slowest_has_its_own_rate, others_share_what_is_left,
        quorum, deadline, over_selection, buffer_of_one, buffer_of_two, windows, rate_trace, nights,
        nights_with_retries,
    )  # fmt: skip
    return tuple(make() for make in found)
