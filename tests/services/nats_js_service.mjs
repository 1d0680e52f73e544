// An ADR-32 service with the official JavaScript client, for the tests: the arguments and output of `nats_py_service.py`, but
// for two arguments before them: the folder of the client's packages, and 2 or 3, the client's version.
//
// Prints `ready <id>` for each instance once the server has all of its subscriptions; reconnects for ever; ends on SIGTERM.

import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, client, ...args] = process.argv.slice(2);
const require = createRequire(join(packages, "package.json"));
const clients = {
  // All in one package.
  2: () => ({ connect: require("nats").connect, services: (connection) => connection.services }),
  3: () => {
    const { Svcm } = require("@nats-io/services");
    return { connect: require("@nats-io/transport-node").connect, services: (connection) => new Svcm(connection) };
  },
};
const { connect, services } = clients[client]();

let url, names, tlsca;
let version = "1.0.0";
let count = 1;
const metadata = {};
while (args.length > 0) {
  const flag = args.shift();
  const value = args.shift();
  if (value === undefined) throw new Error(`${flag} needs a value`);
  switch (flag) {
    case "--url":
      url = value;
      break;
    case "--name":
      names = value.split(",");
      break;
    case "--tlsca":
      tlsca = value;
      break;
    case "--version":
      version = value;
      break;
    case "--count":
      count = Number(value);
      break;
    case "--metadata": {
      const [key, ...rest] = value.split("=");
      metadata[key] = rest.join("=");
      break;
    }
    default:
      throw new Error(`unknown: ${flag}`);
  }
}

process.on("SIGTERM", () => process.exit(0));

// This client takes no user and password in a URL.
const { username, password, host } = new URL(url);
const login = username === "" ? {} : { user: username, pass: password };
const secure = tlsca === undefined ? {} : { tls: { caFile: tlsca } };

for (const name of names.flatMap((name) => Array(count).fill(name))) {
  // By default it gives up after the second error of a login in its life, and a login that is frozen is one; and after a login that the
  // server breaks off it waits for 20 s.
  const forEver = { maxReconnectAttempts: -1, ignoreAuthErrorAbort: true, waitOnFirstConnect: true, timeout: 2000 };
  const connection = await connect({ servers: host, ...forEver, ...login, ...secure });
  const service = await services(connection).add({ name, version, metadata });
  service.addEndpoint("echo", {
    subject: `${name}.echo`,
    handler: (error, message) => {
      if (message?.string() === "fail") throw new Error("asked to fail");
      // This client counts whole milliseconds.
      const end = performance.now() + (message?.string() === '"work"' ? 2 : 0);
      while (performance.now() < end);
      message?.respond(message.data);
    },
  });
  service.addEndpoint("fail", {
    subject: `${name}.fail`,
    handler: (error, message) => message?.respondError(500, "no database: kaputt ünï"),
  });
  // After as many milliseconds as it is told.
  service.addEndpoint("slow", {
    subject: `${name}.slow`,
    handler: (error, message) => setTimeout(() => message?.respond("late"), Number(message?.string())),
  });
  // Takes a request, and says nothing.
  service.addEndpoint("never", { subject: `${name}.never`, handler: () => {} });
  // A round trip: whatever was sent before it, the server has.
  await connection.flush();
  console.log("ready", service.info().id);
}
