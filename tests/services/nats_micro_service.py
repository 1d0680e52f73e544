"""An ADR-32 service with the community's Python library nats-micro (PyPI), for the tests.

The arguments and output of `nats_py_service.py`. Reconnects for ever; ends on SIGTERM.
"""

import argparse
import asyncio
import signal

import nats
from nats_contrib import micro


async def echo(request):
    await request.respond(request.data())


async def ignore(_error):
    """A server that goes away is what the tests are about, not worth a traceback."""


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--metadata", action="append", default=[], metavar="K=V")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="instances, each on a connection of its own")
    args = parser.parse_args()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    for _ in range(args.count):
        connection = await nats.connect(args.url, max_reconnect_attempts=-1, error_cb=ignore)
        service = micro.add_service(
            connection,
            name=args.name,
            version=args.version,
            metadata=dict(pair.split("=", 1) for pair in args.metadata),
        )
        await service.start()
        await service.add_endpoint("echo", echo, subject=f"{args.name}.echo")
        # A round trip: whatever was sent before it, the server has.
        await connection.flush()
        print("ready", service.info().id, flush=True)

    await stop.wait()


asyncio.run(main())
