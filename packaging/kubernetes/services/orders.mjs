// An ADR-32 service that names its pod in its metadata, logs in with a credentials file, and waits for a NATS that is away at the start. Needs
// @nats-io/transport-node and @nats-io/services.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { connect, credsAuthenticator } from "@nats-io/transport-node";
import { Svcm } from "@nats-io/services";

let connection, service;
// Before the connection is there: the first process of a container has no default reaction to SIGTERM.
process.on("SIGTERM", async () => {
  await service?.stop();
  await connection?.drain();
  process.exit();
});

const { NATS_URL, NATS_CREDS, POD_NAME, ID_FILE } = process.env;
while (NATS_CREDS && !existsSync(NATS_CREDS)) await setTimeout(500); // the Secret may come later
connection = await connect({
  servers: NATS_URL,
  waitOnFirstConnect: true, // else a NATS that is away at the start ends the program
  maxReconnectAttempts: -1, // else the client gives up after ten attempts
  ignoreAuthErrorAbort: true, // else it gives up at the second login that is refused
  timeout: 2000, // else it notices only after 20 s that a server closed the connection during a login
  reconnectTimeWait: 500,
  // Read at each attempt.
  authenticator: NATS_CREDS ? credsAuthenticator(() => readFileSync(NATS_CREDS)) : undefined,
});
service = await new Svcm(connection).add({
  name: "orders",
  version: "1.0.0",
  metadata: { pod: POD_NAME },
});
// For probes with --id-file.
if (ID_FILE) writeFileSync(ID_FILE, service.info().id);
