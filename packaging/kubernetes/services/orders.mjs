// An ADR-32 service whose instance says which pod it is in. Needs @nats-io/transport-node and @nats-io/services.

import { writeFileSync } from "node:fs";
import { connect } from "@nats-io/transport-node";
import { Svcm } from "@nats-io/services";

const connection = await connect({
  servers: process.env.NATS_URL,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 500,
});
const service = await new Svcm(connection).add({
  name: "orders",
  version: "1.0.0",
  metadata: { pod: process.env.POD_NAME },
});
// For probes that ask by id:
if (process.env.ID_FILE) writeFileSync(process.env.ID_FILE, service.info().id);

process.on("SIGTERM", async () => {
  await service.stop();
  await connection.drain();
});
