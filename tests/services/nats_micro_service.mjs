// An ADR-32 service with the community's JavaScript library nats-micro (npm), for the tests: the arguments and output of
// `nats_py_service.py`, after the folder of the packages.
//
// Reconnects for ever; ends on SIGTERM.

import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, ...args] = process.argv.slice(2);
const require = createRequire(join(packages, "package.json"));
const { Microservice, NatsBroker } = require("nats-micro");

const flags = { "--version": "1.0.0", "--count": "1" };
const metadata = {};
while (args.length > 0) {
  const [flag, value] = args.splice(0, 2);
  if (value === undefined) throw new Error(`${flag} needs a value`);
  if (flag === "--metadata") {
    const [key, ...rest] = value.split("=");
    metadata[key] = rest.join("=");
  } else {
    flags[flag] = value;
  }
}
const { "--url": url, "--name": name, "--version": version, "--count": count } = flags;

process.on("SIGTERM", () => process.exit(0));

// This client takes no user and password in a URL.
const { username, password, host } = new URL(url);
const login = username === "" ? {} : { user: username, pass: password };

for (let n = 0; n < Number(count); n++) {
  // By default it gives up after the second error of a login in its life, and a login that is frozen is one; and after a login that the
  // server breaks off it waits for 20 s.
  const forEver = { maxReconnectAttempts: -1, ignoreAuthErrorAbort: true, waitOnFirstConnect: true, timeout: 2000 };
  const broker = await new NatsBroker({ servers: host, ...forEver, ...login }).connect();
  const echo = { subject: `${name}.echo`, handler: (request, response) => response.send(request.data) };
  const service = await Microservice.create(broker, { name, description: "", version, metadata, methods: { echo } });
  // An answer of our own is a round trip: whatever was sent before the request, the server has.
  await broker.request(`$SRV.PING.${name}.${service.id}`, "");
  console.log("ready", service.id);
}
