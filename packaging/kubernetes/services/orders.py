"""An ADR-32 service that names its pod in its metadata, logs in with a credentials file, and waits for a NATS that is away at the start. Needs
nats-py[nkeys]."""

import asyncio
import contextlib
import os
import signal
import sys

import nats
import nats.micro


async def report(error):
    print(f"NATS: {error}", file=sys.stderr)


async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    connection = await nats.connect(
        os.environ["NATS_URL"],
        max_reconnect_attempts=-1,  # else a NATS that is away, at the start too, ends the program after 60 attempts
        reconnect_time_wait=0.5,
        error_cb=report,  # else each failed attempt logs a traceback
        user_credentials=os.environ.get("NATS_CREDS") or None,  # read at each attempt
    )
    service = await nats.micro.add_service(
        connection, name="orders", version="1.0.0", metadata={"pod": os.environ["POD_NAME"]}
    )
    # For probes with --id-file.
    if path := os.environ.get("ID_FILE"):
        with open(path, "w") as file:
            file.write(service.id)
    try:
        await asyncio.Event().wait()
    finally:
        await service.stop()
        await connection.drain()


with contextlib.suppress(asyncio.CancelledError):
    asyncio.run(main())
