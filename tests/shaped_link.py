"""Two network namespaces and a link between them: rate and delay of one's choice, no loss.

The kernel's ``netem`` is not everywhere, so a thread of ours carries the packets from one TUN
device to the other after the delay. The rate is ``tc tbf``'s in each namespace, or the
thread's too. A TUN device without a header of its own is handed packet by packet, so that no
offloading (TSO, GSO, GRO) joins them.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import math
import os
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ShapedLink", "measured_link", "missing_for_namespaces", "shaped_link"]

_SERVER = """
import sys
from fedsim.calibration.link.address import Address
from fedsim.calibration.link.listener import Listener

Listener(Address(sys.argv[1], 9000), once=True).serve()
"""
_CLIENT = """
import sys
from pathlib import Path
from fedsim.calibration.link.address import Address
from fedsim.calibration.link.run import calibrate_link
from fedsim.calibration.link.sweep import SweepPlan, sweep_plan

plan = SweepPlan(
    sweep_plan(1_000_000).sizes, 2, 60.0, idle_sizes=(100_000,), pause_s=1.0, num_repeats=1
)
calibrate_link(Address(sys.argv[1], 9000), plan, Path(sys.argv[2]), name="shaped", command="test")
"""

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x0001 | 0x1000
_MTU: Final = 1500
#: What waits in front of the link; more is dropped, as by any router.
_QUEUE_BYTES: Final = 1_000_000
#: tbf lets so much pass at once: two packets, or short messages would not see the rate.
_BURST_BYTES: Final = 2 * _MTU


@dataclass(frozen=True)
class ShapedLink:
    """Names of the two namespaces, and the addresses in them."""

    client_namespace: str
    server_namespace: str
    server_address: str


def missing_for_namespaces() -> str:
    """Why namespaces cannot be used here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root"
    for command in ("ip", "tc"):
        if shutil.which(command) is None:
            return f"needs the command '{command}'"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs /dev/net/tun"
    name = f"fsprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "network namespaces are not allowed here"
    try:
        with _tun(f"ftp{os.getpid() % 100_000}") as device:
            assert device >= 0
    except OSError as error:
        return f"TUN devices are not allowed here ({error.strerror})"
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


@contextlib.contextmanager
def shaped_link(
    up_bytes_per_s: float, down_bytes_per_s: float, round_trip_s: float, *, with_tbf: bool = True
) -> Iterator[ShapedLink]:
    """A client and a server, with rates of the wire by direction.

    Headers count from IP on: a full packet holds 1448 bytes of 1500.
    """
    rates = (up_bytes_per_s, down_bytes_per_s)
    mark = f"{os.getpid() % 100_000}"
    names = [f"fsc{mark}", f"fss{mark}"]
    with contextlib.ExitStack() as stack:
        devices = []
        for index, name in enumerate(names):
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "del", name)
            devices.append(stack.enter_context(_tun(f"ft{index}{mark}")))
            _configure(name, f"ft{index}{mark}", index)
            if with_tbf:
                _limit(name, f"ft{index}{mark}", rates[index])
        carried = (math.inf, math.inf) if with_tbf else rates
        carriers = [
            _Carrier(devices[0], devices[1], carried[0], round_trip_s / 2),
            _Carrier(devices[1], devices[0], carried[1], round_trip_s / 2),
        ]
        for carrier in carriers:
            carrier.start()
            stack.callback(carrier.stop)
        yield ShapedLink(names[0], names[1], "10.99.0.2")


def _in_namespace(name: str, program: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python program that sees one end of the link."""
    return subprocess.Popen(
        ["ip", "netns", "exec", name, sys.executable, "-c", program, *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_listener(link: ShapedLink, server: subprocess.Popen[str]) -> None:
    """Until the port is open."""
    for _ in range(200):
        assert server.poll() is None
        shown = subprocess.run(
            ["ip", "netns", "exec", link.server_namespace, "cat", "/proc/net/tcp"],
            check=True,
            capture_output=True,
            text=True,
        )
        if f":{9000:04X} 00000000:0000 0A" in shown.stdout:
            return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


def measured_link(link: ShapedLink, out: Path) -> None:
    """Listener in one namespace, connector in the other."""
    with _in_namespace(link.server_namespace, _SERVER, link.server_address) as server:
        try:
            _wait_for_listener(link, server)
            arguments = (link.server_address, str(out))
            with _in_namespace(link.client_namespace, _CLIENT, *arguments) as client:
                _, said = client.communicate(timeout=60)
                assert client.returncode == 0, said
        finally:
            server.terminate()


class _Carrier(threading.Thread):
    """One direction."""

    def __init__(self, source: int, sink: int, bytes_per_s: float, delay_s: float) -> None:
        super().__init__()
        self.source, self.sink = source, sink
        self.bytes_per_s, self.delay_s = bytes_per_s, delay_s
        self.wake_read, self.wake_write = os.pipe()

    def stop(self) -> None:
        os.write(self.wake_write, b"x")
        self.join()
        os.close(self.wake_read)
        os.close(self.wake_write)

    def run(self) -> None:
        waiting: list[tuple[float, int, bytes]] = []
        free_s, count = 0.0, 0
        poll = select.poll()
        poll.register(self.source, select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        while True:
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                # A device that is going away, or a full one: the packet is lost.
                with contextlib.suppress(OSError):
                    os.write(self.sink, heapq.heappop(waiting)[2])
            patience_ms = max(0.0, waiting[0][0] - now) * 1000 if waiting else 200.0
            for ready, _ in poll.poll(patience_ms):
                if ready == self.wake_read:
                    return
                with contextlib.suppress(BlockingIOError):
                    while True:
                        packet = os.read(self.source, _MTU + 100)
                        now = time.monotonic()
                        if free_s - now > _QUEUE_BYTES / self.bytes_per_s:
                            continue
                        free_s = max(now, free_s) + len(packet) / self.bytes_per_s
                        count += 1
                        heapq.heappush(waiting, (free_s + self.delay_s, count, packet))


@contextlib.contextmanager
def _tun(name: str) -> Iterator[int]:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN_NO_PI))
        yield device
    finally:
        os.close(device)


def _configure(namespace: str, device: str, index: int) -> None:
    _run("ip", "link", "set", device, "netns", namespace)
    inside = ("ip", "netns", "exec", namespace)
    _run(*inside, "ip", "addr", "add", f"10.99.0.{index + 1}/24", "dev", device)
    _run(*inside, "ip", "link", "set", device, "mtu", str(_MTU), "txqueuelen", "2000", "up")
    _run(*inside, "ip", "link", "set", "lo", "up")
    # The one that slow start is described for; not every kernel has it. By the route, because
    # /proc/sys is often read-only.
    route = ("ip", "-n", namespace, "route", "replace", "10.99.0.0/24", "dev", device)
    with contextlib.suppress(subprocess.CalledProcessError):
        _run(*route, "congctl", "cubic")


def _limit(namespace: str, device: str, bytes_per_s: float) -> None:
    shape = ("rate", f"{round(8 * bytes_per_s)}bit", "burst", str(_BURST_BYTES))
    queue = ("limit", str(_QUEUE_BYTES))
    tc = ("ip", "netns", "exec", namespace, "tc", "qdisc", "add", "dev", device, "root", "tbf")
    _run(*tc, *shape, *queue)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
