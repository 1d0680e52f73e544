"""An ADR-32 service whose instance says which pod it is in. Needs nats-py."""

import asyncio
import os
import signal

import nats
import nats.micro


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1, reconnect_time_wait=0.5)
    service = await nats.micro.add_service(
        connection, name="orders", version="1.0.0", metadata={"pod": os.environ["POD_NAME"]}
    )
    # For probes that ask by id:
    if path := os.environ.get("ID_FILE"):
        with open(path, "w") as file:
            file.write(service.id)
    await stop.wait()
    await service.stop()
    await connection.drain()


asyncio.run(main())
