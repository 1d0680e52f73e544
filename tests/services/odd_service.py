#!/usr/bin/env python3
"""ADR-32 instances that behave on the wire as some client libraries do. Needs nats-py.

usage: odd_service.py URL NAME INSTANCES [key=value ...]

  queue=GROUP       control subjects (PING, INFO, STATS) in a queue group: each request reaches one instance
  wild=1            one subscription on $SRV.> in place of nine
  object=1          INFO: "endpoints" as an object keyed by name
  requests=N errors=N             counters of each endpoint at the start
  per_s=N errors_per_s=N          what they grow by, each second
  among=1           the errors are counted among the requests, not beside them
  last_error=TEXT   500:boom unless given; may be empty
  meta=KEY:VALUE    metadata; instance i has VALUE-i
  pad=BYTES         so many bytes more in the metadata
  ids=A,B,...       ids instead of random ones; twice the same is two processes under one id
  endpoint=NAME:SUBJECT[+NAME:SUBJECT]
  endpoints=N endpoint_pad=BYTES  N endpoints more, and so many bytes in the metadata of each endpoint in INFO and STATS
  real=SUBJECT      where the endpoint really listens, if INFO does not tell it
  delay=MS          how long each control reply is held back: an instance that is farther away
  tlsca=FILE                      the authority of the server's certificate
  header=TEXT       a header line (latin-1, \\xNN allowed) on replies of endpoints, and with ping_header=1 on PING replies

Prints "ready ID" for each id when all instances are subscribed; runs until it is killed.
"""
import asyncio
import json
import random
import ssl
import string
import sys
import time

import nats

URL, NAME, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
OPTIONS = dict(word.split("=", 1) for word in sys.argv[4:])
ENDPOINTS = [pair.split(":") for pair in OPTIONS.get("endpoint", f"echo:{NAME}.echo").split("+")]
ENDPOINTS += [[f"e{n}", f"{NAME}.e{n}"] for n in range(int(OPTIONS.get("endpoints", 0)))]
SCHEMA = {"schema": "x" * int(OPTIONS["endpoint_pad"])} if "endpoint_pad" in OPTIONS else {}
STARTED = time.time()
TYPES = {"PING": "ping", "INFO": "info", "STATS": "stats"}


def number(key):
    return float(OPTIONS.get(key, 0))


def reply(verb, identity):
    body = {**identity, "type": f"io.nats.micro.v1.{TYPES[verb]}_response"}
    if verb == "INFO":
        listed = [{"name": n, "subject": s, "queue_group": "q", "metadata": SCHEMA} for n, s in ENDPOINTS]
        body["description"] = ""
        body["endpoints"] = {e["name"]: e for e in listed} if "object" in OPTIONS else listed
    if verb == "STATS":
        up = time.time() - STARTED
        requests = int(number("requests") + up * number("per_s"))
        errors = int(number("errors") + up * number("errors_per_s"))
        calls = requests if "among" in OPTIONS else requests + errors
        body["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(STARTED))
        body["endpoints"] = [{"name": n, "subject": s, "queue_group": "q", "num_requests": requests, "num_errors": errors,
                              "last_error": OPTIONS.get("last_error", "500:boom") if errors else "",
                              "processing_time": calls * 1_000_000,
                              "average_processing_time": 1_000_000, "data": SCHEMA} for n, s in ENDPOINTS]
    return json.dumps(body).encode()


async def send(connection, subject, payload, with_header):
    if not with_header:
        return await connection.publish(subject, payload)
    # By hand: the library refuses bytes that are not text.
    line = OPTIONS["header"].encode("latin-1").decode("unicode_escape").encode("latin-1")
    head = b"NATS/1.0\r\n" + line + b"\r\n\r\n"
    command = f"HPUB {subject} {len(head)} {len(head) + len(payload)}\r\n".encode()
    await connection._send_command(command + head + payload + b"\r\n")
    await connection.flush()


async def instance(index, identifier):
    tls = ssl.create_default_context(cafile=OPTIONS["tlsca"]) if "tlsca" in OPTIONS else None
    connection = await nats.connect(URL, tls=tls, name=f"{NAME}-{index}", reconnect_time_wait=1, max_reconnect_attempts=-1)
    metadata = {}
    if "meta" in OPTIONS:
        key, value = OPTIONS["meta"].split(":")
        metadata[key] = f"{value}-{index}"
    if "pad" in OPTIONS:
        metadata["schema"] = "x" * int(OPTIONS["pad"])
    identity = {"name": NAME, "id": identifier, "version": "1.0.0", "metadata": metadata}

    async def control(message):
        tokens = message.subject.split(".")
        ours = tokens[2:] in ([], [NAME], [NAME, identifier])
        if tokens[1] in TYPES and message.reply and (ours or "wild" not in OPTIONS):
            await asyncio.sleep(number("delay") / 1000)
            await send(connection, message.reply, reply(tokens[1], identity), tokens[1] == "PING" and "ping_header" in OPTIONS)

    queue = OPTIONS.get("queue", "")
    if "wild" in OPTIONS:
        await connection.subscribe("$SRV.>", queue=queue, cb=control)
    else:
        for verb in TYPES:
            for subject in (f"$SRV.{verb}", f"$SRV.{verb}.{NAME}", f"$SRV.{verb}.{NAME}.{identifier}"):
                await connection.subscribe(subject, queue=queue, cb=control)
    for _, subject in ENDPOINTS:
        async def answer(message):
            await send(connection, message.reply, b"pong:" + message.data, "header" in OPTIONS)
        await connection.subscribe(OPTIONS.get("real", subject), queue="q", cb=answer)
    await connection.flush()
    return connection


async def main():
    alphabet = string.ascii_uppercase + string.digits
    ids = OPTIONS["ids"].split(",") if "ids" in OPTIONS else ["".join(random.choices(alphabet, k=22)) for _ in range(COUNT)]
    keep = [await instance(i, ids[i % len(ids)]) for i in range(COUNT)]
    for identifier in ids:
        print("ready", identifier, flush=True)
    await asyncio.Event().wait()
    del keep


asyncio.run(main())
