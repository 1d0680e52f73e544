"""An ADR-32 service with the official Python client, for the tests.

Prints `ready <id>` for each instance once the server has all of its subscriptions; reconnects for ever; ends on SIGTERM.
"""

import argparse
import asyncio
import signal
import ssl

import nats
import nats.micro


async def echo(request):
    if request.data == b"fail":
        raise ValueError("asked to fail")
    await request.respond(request.data)


async def fail(request):
    await request.respond_error("500", "no database: kaputt ünï")


async def slow(request):
    """After as many milliseconds as it is told."""
    await asyncio.sleep(int(request.data) / 1000)
    await request.respond(b"late")


async def never(_request):
    """Takes a request, and says nothing."""


async def ignore(_error):
    """A server that goes away is what the tests are about, not worth a traceback."""


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--name", required=True, metavar="NAME[,NAME...]", help="services, each with all instances")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--metadata", action="append", default=[], metavar="K=V")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="instances, each on a connection of its own")
    parser.add_argument("--tlsca", metavar="FILE", help="the authority of the server's certificate")
    args = parser.parse_args()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    tls = ssl.create_default_context(cafile=args.tlsca) if args.tlsca else None
    services = []
    for name in [name for name in args.name.split(",") for _ in range(args.count)]:
        connection = await nats.connect(args.url, max_reconnect_attempts=-1, error_cb=ignore, tls=tls)
        service = await nats.micro.add_service(
            connection,
            name=name,
            version=args.version,
            metadata=dict(pair.split("=", 1) for pair in args.metadata),
        )
        for handler in (echo, fail, slow, never):
            subject = f"{name}.{handler.__name__}"
            await service.add_endpoint(name=handler.__name__, subject=subject, handler=handler)
        # A round trip: whatever was sent before it, the server has.
        await connection.flush()
        services.append(service)
        print("ready", service.id, flush=True)

    await stop.wait()


asyncio.run(main())
