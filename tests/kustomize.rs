//! The kustomize component of packaging/kubernetes: rendered by the real kubectl, and run as it was rendered.

use std::fs;

use serde_json::{Value, json};

use super::support::manifest::{PROBES, Pod, forbidden, instance, locked, quick_start, render};
use super::support::server::free_port;
use super::support::{Server, Service, TempDir, Version, http, markdown, wait_for};

fn find<'t>(documents: &'t [Value], kind: &str, name: &str) -> &'t Value {
    let found = documents.iter().find(|document| {
        let its_name = document["metadata"]["name"].as_str().unwrap();
        document["kind"] == kind && its_name.starts_with(name)
    });
    found.unwrap_or_else(|| panic!("no {kind} {name}: {documents:?}"))
}

/// A pod of a rendered Deployment.
fn pod<'t>(documents: &[Value], dir: &'t TempDir, server: &'t Server, name: &'t str) -> Pod<'t> {
    let mut pod = Pod::new(dir, server, name);
    let deployment = find(documents, "Deployment", "orders");
    pod.labels = deployment["spec"]["template"]["metadata"]["labels"].clone();
    let config = find(documents, "ConfigMap", "check-nats-service-");
    let sidecar = &deployment["spec"]["template"]["spec"]["initContainers"][0];
    assert_eq!(
        sidecar["envFrom"][0]["configMapRef"]["name"],
        config["metadata"]["name"]
    );
    pod.config = config["data"].clone();
    pod
}

/// The path of each probe of a container, on the sidecar's port.
fn paths(container: &Value) -> [&str; 3] {
    PROBES.map(|kind| {
        let get = &container[format!("{kind}Probe")]["httpGet"];
        assert_eq!(get["port"], 9422, "{container}");
        get["path"].as_str().unwrap()
    })
}

#[test]
#[ignore = "needs kubectl"]
fn the_quick_start_of_the_readme_runs_as_it_stands() {
    let section = markdown::section("README.md", "## Kubernetes");
    let rendered = render(&quick_start());
    let deployment = find(&rendered, "Deployment", "orders");
    let spec = &deployment["spec"]["template"]["spec"];
    let (app, sidecar) = (&spec["containers"][0], &spec["initContainers"][0]);
    assert_eq!(
        (&app["name"], &sidecar["restartPolicy"]),
        (&"orders".into(), &"Always".into())
    );
    // What is said of the service has to be true of the variable.
    let field = json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    assert_eq!(app["env"][1], field, "{app}");

    let (server, dir) = (Server::start(Version::Newest), TempDir::new());
    let pod = |name| pod(&rendered, &dir, &server, name);
    let ports = [free_port(), free_port()];
    let start =
        || [("orders-1", ports[0]), ("orders-2", ports[1])].map(|(name, port)| pod(name).sidecar(sidecar, Some(port)));
    let service = || Service::async_nats(&server.url(), "orders");
    let without = service().count(3).start();
    let sidecars = start();
    let promised = "3 instances answer, none has pod in its metadata";
    assert!(section.contains(promised), "{section}");
    let [startup, liveness, readiness] = paths(app);
    for path in [startup, liveness, readiness] {
        wait_for(&format!("{path} tells what is missing"), || {
            let reply = http::ask(ports[0], "GET", path).ok()?;
            (reply.status == 503 && reply.body.contains(promised)).then_some(())
        });
    }
    without.kill();
    let [one, _two] = ["orders-1", "orders-2"].map(|pod| service().metadata("pod", pod).start());
    sidecars.iter().for_each(|sidecar| sidecar.check_at_once());
    for (port, path) in ports
        .iter()
        .flat_map(|port| [startup, liveness, readiness].map(|path| (*port, path)))
    {
        http::wait_for_status(port, path, 200);
    }
    one.kill();
    sidecars.iter().for_each(|sidecar| sidecar.check_at_once());
    http::wait_for_status(ports[0], liveness, 503);
    http::wait_for_status(ports[1], liveness, 200);
}

/// A Deployment that has annotations, variables, volumes, init containers and a second container, and one that is no service.
const RICH: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
  labels: {nats-service: orders}
spec:
  selector:
    matchLabels: {app: orders}
  template:
    metadata:
      labels: {app: orders, nats-service: orders}
      annotations: {prometheus.io/port: "8080"}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      initContainers:
        - name: migrate
          image: registry.example.org/migrate:1.0.0
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      containers:
        - name: application
          image: registry.example.org/orders:1.0.0
          env:
            - {name: LOG, value: debug}
          livenessProbe: {tcpSocket: {port: 80}}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        - name: proxy
          image: registry.example.org/proxy:1.0.0
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumes:
        - name: nats-credentials
          secret: {secretName: login-of-orders}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: redis
spec:
  selector:
    matchLabels: {app: redis}
  template:
    metadata:
      labels: {app: redis}
    spec:
      containers:
        - name: redis
          image: registry.example.org/redis:8.0.0
"#;

const WITH_LOGIN: &str = r#"
resources: [deployment.yaml]
components: [component]
configMapGenerator:
  - name: check-nats-service
    literals: ["NATS_URL=nats://nats.nats.svc:4222", NATS_CREDS=/etc/nats/nats.creds]
"#;

#[test]
#[ignore = "needs kubectl"]
fn the_component_keeps_what_a_deployment_has_and_leaves_others_alone() {
    let rendered = render(&[
        ("kustomization.yaml", WITH_LOGIN.into()),
        ("deployment.yaml", RICH.into()),
    ]);
    assert_eq!(
        rendered.len(),
        3,
        "what the component copies from is no part of the result: {rendered:?}"
    );
    let redis = find(&rendered, "Deployment", "redis");
    assert!(!redis.to_string().contains("nats"), "{redis}");
    let orders = find(&rendered, "Deployment", "orders");
    assert_eq!(forbidden(orders), [""; 0]);
    let spec = &orders["spec"]["template"]["spec"];
    let names = |list: &str| -> Vec<&str> {
        let all = spec[list].as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap()).collect()
    };
    assert_eq!(names("initContainers"), ["check-nats-service", "migrate"]);
    assert_eq!(names("containers"), ["application", "proxy"]);
    assert_eq!(names("volumes"), ["check-nats-service-credentials", "nats-credentials"]);
    assert_eq!(spec["volumes"][1]["secret"], json!({"secretName": "login-of-orders"}));
    assert_eq!(
        orders["spec"]["template"]["metadata"]["annotations"],
        json!({"prometheus.io/port": "8080"})
    );
    let app = &spec["containers"][0];
    assert_eq!(paths(app), ["/startupz", "/livez", "/readyz"]);
    assert!(app["livenessProbe"]["tcpSocket"].is_null());
    assert_eq!(
        app["env"],
        json!([
            {"name": "LOG", "value": "debug"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        ])
    );
    assert_eq!(
        spec["volumes"][0]["secret"],
        json!({"secretName": "nats-credentials", "optional": true})
    );
    for kind in ["StatefulSet", "DaemonSet"] {
        let text = RICH.replace("kind: Deployment", &format!("kind: {kind}"));
        let rendered = render(&[("kustomization.yaml", WITH_LOGIN.into()), ("deployment.yaml", text)]);
        assert_eq!(
            find(&rendered, kind, "orders")["spec"]["template"],
            orders["spec"]["template"]
        );
        assert_eq!(find(&rendered, kind, "redis")["spec"], redis["spec"]);
    }

    // Its login comes from the Secret, which may come late.
    let (server, dir, creds) = locked();
    let port = free_port();
    let sidecar = pod(&rendered, &dir, &server, "orders-1").sidecar(&spec["initContainers"][0], Some(port));
    for path in ["/startupz", "/livez"] {
        let text = http::wait_for_status(port, path, 200);
        assert!(text.contains("cannot ask"), "{text}");
    }
    http::wait_for_status(port, "/readyz", 503);
    fs::write(dir.join("nats.creds"), creds).unwrap();
    let _one = instance(&server, &dir, "orders-1");
    sidecar.check_at_once();
    http::wait_for_status(port, "/readyz", 200);
}
