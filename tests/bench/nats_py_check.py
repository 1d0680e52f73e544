"""What many write instead of a check: asks NATS with the Python client. `nats_py_check.py URL NAME COUNT`.

Ends when COUNT instances have answered, when the server says that there are none, or when nothing more came for 300 ms.
"""

import asyncio
import json
import sys

import nats


async def main(url, name, count):
    nc = await nats.connect(url, allow_reconnect=False, connect_timeout=10)
    inbox = nc.new_inbox()
    replies = await nc.subscribe(inbox)
    await nc.publish(f"$SRV.PING.{name}", reply=inbox)
    ids = set()
    try:
        while len(ids) < count:
            reply = await replies.next_msg(timeout=0.3 if ids else 10)
            if (reply.headers or {}).get("Status") == "503":
                break
            ids.add(json.loads(reply.data)["id"])
    except nats.errors.TimeoutError:
        pass
    await nc.close()
    print(f"{'OK' if ids else 'CRITICAL'} - {name}: {len(ids)} instances")
    return 0 if ids else 2


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
