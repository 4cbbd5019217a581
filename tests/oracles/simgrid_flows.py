"""Flows to one server as SimGrid shares its link out; run by a Python that has SimGrid's bindings.

Reads JSON from standard input: ``arrival_s`` (rising), ``num_bytes`` and ``bytes_per_s`` of each
flow, and the server's ``capacity`` [B/s]. Writes a JSON list of ends [s]. It imports nothing of
fedsim: Debian's bindings are for Debian's own Python.
"""

import json
import sys

from simgrid import Actor, Comm, Engine, LinkInRoute, NetZone, this_actor

#: Plain max-min sharing: no slow start, no window, no bandwidth or latency factors; and rates and
#: times as precise as SimGrid lets them be asked for.
OPTIONS = (
    "network/model:CM02",
    "network/optim:Full",
    "network/TCP-gamma:0",
    "network/weight-S:0",
    "network/crosstraffic:0",
    "maxmin/precision:1e-9",
    "surf/precision:1e-9",
)


def main() -> None:
    asked = json.load(sys.stdin)
    engine = Engine(["flows", "--log=root.thresh:error", *(f"--cfg={one}" for one in OPTIONS)])
    zone = NetZone.create_full_zone("all")
    server = zone.create_host("server", 1e9)
    shared = zone.create_link("shared", asked["capacity"]).set_latency(0).seal()
    clients = []
    for number, rate in enumerate(asked["bytes_per_s"]):
        client = zone.create_host(f"client{number}", 1e9)
        own = zone.create_link(f"own{number}", rate).set_latency(0).seal()
        route = [LinkInRoute(own), LinkInRoute(shared)]
        zone.add_route(client.netpoint, server.netpoint, None, None, route, True)
        clients.append(client)
    zone.seal()
    flows = []

    def start() -> None:
        coming = zip(clients, asked["arrival_s"], asked["num_bytes"], strict=True)
        for client, arrival, size in coming:
            this_actor.sleep_until(arrival)
            flows.append(Comm.sendto_init(client, server).set_payload_size(size).start())
        Comm.wait_all(flows)

    Actor.create("start", server, start)
    engine.run()
    json.dump([flow.finish_time for flow in flows], sys.stdout)


main()
