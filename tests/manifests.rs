//! The manifests are valid, and the commands in them run as they stand, against the services beside them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::support::check::BINARY;
use super::support::jwt::{Account, Operator, User};
use super::support::server::free_port;
use super::support::{
    Check, LIMIT, Metrics, Server, Service, TempDir, Version, each, from_env, http, process, wait_for,
};

/// The newest Kubernetes that kubernetes-validate knows.
const KUBERNETES: &str = "1.37";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kubernetes")
}

/// A program of the Python environment of the tests.
fn tool(name: &str) -> String {
    Path::new(&from_env("NATS_PY_PYTHON"))
        .with_file_name(name)
        .to_str()
        .unwrap()
        .to_owned()
}

fn names() -> Vec<String> {
    let names = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
}

/// The documents of a manifest.
fn documents(name: &str) -> Vec<Value> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let path = folder().join(name);
    let out = Check::program(&from_env("NATS_PY_PYTHON"), ["-c", script, path.to_str().unwrap()]).run();
    assert_eq!(out.code, Some(0), "{out:?}");
    serde_json::from_str(&out.stdout).unwrap()
}

/// All containers of a Deployment, those that begin first, too.
fn containers(deployment: &Value) -> Vec<Value> {
    let spec = &deployment["spec"]["template"]["spec"];
    let lists = ["initContainers", "containers"]
        .into_iter()
        .filter_map(|key| spec[key].as_array());
    lists.flatten().cloned().collect()
}

fn container(name: &str, container: &str) -> Value {
    let found = documents(name)
        .iter()
        .flat_map(containers)
        .find(|found| found["name"] == container);
    found.unwrap_or_else(|| panic!("{name}: no {container}"))
}

#[test]
#[ignore = "needs nats-py"]
fn the_manifests_are_valid() {
    let names = names();
    assert_eq!(
        names,
        [
            "all-services.yaml",
            "app-id-file.yaml",
            "app.yaml",
            "credentials.yaml",
            "metrics.yaml",
            "networkpolicy.yaml",
            "podmonitor.yaml",
            "prometheusrule.yaml",
            "sidecar-http-classic.yaml",
            "sidecar-http.yaml",
            "sidecar.yaml"
        ]
    );
    // Kinds of the Prometheus operator, which the validator does not know: the_pod_monitors_find_their_ports and
    // the_rules_of_the_operator_are_those_of_prometheus look at them.
    let known = |name: &String| !["podmonitor.yaml", "prometheusrule.yaml"].contains(&name.as_str());
    for name in names.into_iter().filter(known) {
        let path = folder().join(&name);
        let args = ["--strict", "--kubernetes-version", KUBERNETES, path.to_str().unwrap()];
        let out = Check::program(&tool("kubernetes-validate"), args).run();
        assert_eq!(out.code, Some(0), "{out:?}");
        for container in documents(&name).iter().flat_map(containers) {
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}: {container}");
            assert_eq!(context["runAsNonRoot"], true, "{name}: {container}");
            // A variable of the downward API would be nothing there.
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert!(
                    !container[probe]["exec"].to_string().contains("$("),
                    "{name}: {container}"
                );
            }
        }
    }
    let dir = TempDir::new();
    let wrong = dir.join("wrong.yaml");
    let text = fs::read_to_string(folder().join("app.yaml")).unwrap();
    fs::write(&wrong, text.replace("livenessProbe:", "livelinessProbe:")).unwrap();
    let out = Check::program(&tool("kubernetes-validate"), ["--strict", &wrong]).run();
    assert_ne!(out.code, Some(0), "it sees what is wrong: {out:?}");
}

/// What the Pod Security level *restricted* (which includes *baseline*) forbids in the pods of a manifest, as
/// https://kubernetes.io/docs/concepts/security/pod-security-standards/ lists it.
fn forbidden(deployment: &Value) -> Vec<String> {
    let pod = &deployment["spec"]["template"]["spec"];
    let mut found = Vec::new();
    let mut rule = |holds: bool, text: String| {
        if !holds {
            found.push(text);
        }
    };
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        rule(pod[key] != true, key.into());
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let allowed = [
            "name",
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        let keys = volume.as_object().expect("a volume").keys();
        keys.for_each(|key| rule(allowed.contains(&key.as_str()), format!("volume {key}")));
    }
    let at_pod = &pod["securityContext"];
    rule(at_pod["sysctls"].is_null(), "sysctls".into());
    let containers = containers(deployment);
    rule(!containers.is_empty(), "no container".into());
    for container in containers {
        let context = &container["securityContext"];
        let either = |key: &str| {
            if context[key].is_null() {
                &at_pod[key]
            } else {
                &context[key]
            }
        };
        let name = &container["name"];
        rule(context["privileged"] != true, format!("{name}: privileged"));
        rule(context["procMount"].is_null(), format!("{name}: procMount"));
        rule(
            context["allowPrivilegeEscalation"] == false,
            format!("{name}: allowPrivilegeEscalation"),
        );
        rule(either("runAsNonRoot") == true, format!("{name}: runAsNonRoot"));
        rule(either("runAsUser") != 0, format!("{name}: runAsUser"));
        let seccomp = &either("seccompProfile")["type"];
        rule(
            seccomp == "RuntimeDefault" || seccomp == "Localhost",
            format!("{name}: seccompProfile"),
        );
        for key in ["seLinuxOptions", "appArmorProfile", "windowsOptions"] {
            rule(either(key).is_null(), format!("{name}: {key}"));
        }
        let capabilities = &context["capabilities"];
        let list = |key: &str| capabilities[key].as_array().cloned().unwrap_or_default();
        rule(list("drop").contains(&"ALL".into()), format!("{name}: capabilities"));
        rule(
            list("add").iter().all(|one| one == "NET_BIND_SERVICE"),
            format!("{name}: capabilities"),
        );
        for port in container["ports"].as_array().into_iter().flatten() {
            rule(port["hostPort"].is_null(), format!("{name}: hostPort"));
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            for kind in ["httpGet", "tcpSocket"] {
                rule(
                    container[probe][kind]["host"].is_null(),
                    format!("{name}: host of {probe}"),
                );
            }
        }
    }
    found
}

#[test]
#[ignore = "needs nats-py"]
fn every_pod_meets_the_restricted_level_and_has_no_token() {
    let mut seen = 0;
    for name in names() {
        for deployment in documents(&name)
            .iter()
            .filter(|document| document["kind"] == "Deployment")
        {
            seen += 1;
            assert_eq!(forbidden(deployment), [""; 0], "{name}");
            let pod = &deployment["spec"]["template"]["spec"];
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
                "{name}"
            );
        }
    }
    assert_eq!(seen, 7);
    // The rules see what is wrong.
    let container = "/spec/template/spec/containers/0";
    for (pointer, value, expected) in [
        (
            "/spec/template/spec/securityContext",
            Value::Null,
            "\"orders\": seccompProfile",
        ),
        (
            "/spec/template/spec/volumes/0",
            serde_json::json!({"name": "x", "hostPath": {}}),
            "volume hostPath",
        ),
        (
            &format!("{container}/securityContext/capabilities"),
            Value::Null,
            "\"orders\": capabilities",
        ),
        (
            &format!("{container}/securityContext/allowPrivilegeEscalation"),
            true.into(),
            "\"orders\": allowPrivilegeEscalation",
        ),
        (
            &format!("{container}/securityContext/runAsUser"),
            0.into(),
            "\"orders\": runAsUser",
        ),
        (
            &format!("{container}/securityContext/runAsNonRoot"),
            Value::Null,
            "\"orders\": runAsNonRoot",
        ),
    ] {
        let mut deployment = documents("app.yaml").remove(0);
        *deployment.pointer_mut(pointer).unwrap() = value;
        assert_eq!(forbidden(&deployment), [expected], "{pointer}");
    }
}

/// A pod: its folders are in one of ours, its NATS is the server of the test.
struct Pod<'t> {
    dir: &'t TempDir,
    server: &'t Server,
    name: &'t str,
}

impl Pod<'_> {
    /// What is said in the manifest, with the places of this pod.
    fn place(&self, text: &str) -> String {
        let mut text = text.replace("nats://nats.nats.svc:4222", &self.server.url());
        for (mount, folder) in [
            ("/etc/nats/", ""),
            ("/run/orders/", ""),
            ("/status/", ""),
            ("/metrics/", ""),
            ("/state/", "volume/"),
        ] {
            text = text.replace(mount, &self.dir.join(folder));
        }
        text
    }

    fn env(&self, container: &Value) -> Vec<(String, String)> {
        let variables = container["env"].as_array().unwrap().iter();
        variables
            .map(|variable| {
                let value = match variable["value"].as_str() {
                    Some(value) => self.place(value),
                    None => {
                        assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
                        self.name.to_owned()
                    }
                };
                (variable["name"].as_str().unwrap().to_owned(), value)
            })
            .collect()
    }

    fn words(&self, words: &Value) -> Vec<String> {
        words
            .as_array()
            .unwrap()
            .iter()
            .map(|word| self.place(word.as_str().unwrap()))
            .collect()
    }

    /// Runs a probe of a container as the kubelet does.
    #[track_caller]
    fn probe(&self, container: &Value, kind: &str, code: i32, text: &str) {
        let command = self.words(&container[format!("{kind}Probe")]["exec"]["command"]);
        assert_eq!(command[0], "/check_nats_service");
        let ask = || {
            let env = self.env(container).into_iter();
            env.fold(Check::new(&command[1..]), |check, (name, value)| check.env(name, value))
                .run()
        };
        // As often as the kubelet asks before it does anything: the machine may be busy.
        let threshold = container[format!("{kind}Probe")]["failureThreshold"].as_u64().unwrap();
        let tries = if code == 0 { threshold } else { 1 };
        let out = (1..tries)
            .map(|_| ask())
            .find(|out| out.code == Some(code))
            .unwrap_or_else(ask);
        out.assert(code, text);
    }

    #[track_caller]
    fn probes(&self, container: &Value, code: i32, text: &str) {
        let answer = if code == 0 { "pass" } else { "fail" };
        for kind in ["startup", "liveness", "readiness"] {
            self.probe(container, kind, code, &format!("{kind} {answer}: orders: {text}"));
        }
    }

    /// Starts the sidecar of a container.
    fn sidecar(&self, container: &Value) -> Sidecar {
        assert!(container["image"].as_str().unwrap().contains("/check_nats_service:"));
        let mut command = process::command(BINARY);
        command
            .args(self.words(&container["args"]))
            .env_clear()
            .envs(self.env(container))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Sidecar(process::spawn(command))
    }
}

/// Ended on drop.
struct Sidecar(Child);

impl Sidecar {
    #[track_caller]
    fn check_at_once(&self) {
        process::signal(&self.0, libc::SIGHUP);
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        process::kill(&mut self.0);
    }
}

/// An instance in a pod of this name, with the credentials beside those of the probes.
fn instance(server: &Server, dir: &TempDir, pod: &str) -> Service {
    Service::async_nats(&server.url(), "orders")
        .creds(&dir.join("orders.creds"))
        .metadata("pod", pod)
        .start()
}

/// A server that wants credentials, and a folder with the secret in it.
fn locked() -> (Server, TempDir, Account) {
    let operator = Operator::new();
    let account = Account::new("APP");
    let server = Server::with_config(Version::Newest, &operator.config(&[&account]));
    let dir = TempDir::new();
    // As the Secret calls it.
    let secret = documents("credentials.yaml").remove(0);
    let names: Vec<&String> = secret["stringData"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["orders.creds"]);
    fs::write(dir.join("orders.creds"), account.creds(&User::new("mon"))).unwrap();
    (server, dir, account)
}

#[test]
#[ignore = "needs nats-server"]
fn the_probes_run_as_they_stand() {
    let (server, dir, _) = locked();
    let [one, _two] = ["orders-1", "orders-2"].map(|pod| instance(&server, &dir, pod));
    let (app, by_file) = (container("app.yaml", "orders"), container("app-id-file.yaml", "orders"));
    let pod = |name| Pod {
        dir: &dir,
        server: &server,
        name,
    };
    for name in ["orders-1", "orders-2"] {
        pod(name).probes(&app, 0, &format!("* (1.0.0, pod={name}) answered in *ms"));
    }
    pod("orders-1").probes(&by_file, 1, "no instance yet: the id file *");
    fs::write(dir.join("instance-id"), one.id()).unwrap();
    pod("orders-1").probes(
        &by_file,
        0,
        &format!("{} (1.0.0, pod=orders-1) answered in *ms", one.id()),
    );
    one.kill();
    pod("orders-1").probes(
        &app,
        1,
        "the instance with pod=orders-1 does not answer within *ms, though others do, NATS *",
    );
    pod("orders-1").probes(&by_file, 1, "instance * is gone, no responders, NATS *");
    pod("orders-2").probes(&app, 0, "* (1.0.0, pod=orders-2) answered in *ms");
}

#[test]
#[ignore = "needs nats-server"]
fn the_sidecar_runs_as_it_stands() {
    let (mut server, dir, _) = locked();
    let [one, _two] = ["orders-1", "orders-2"].map(|pod| instance(&server, &dir, pod));
    let (app, watch) = (container("sidecar.yaml", "orders"), container("sidecar.yaml", "watch"));
    let status = || -> Option<Value> { serde_json::from_str(&fs::read_to_string(dir.join("orders.json")).ok()?).ok() };
    let pod = |name| Pod {
        dir: &dir,
        server: &server,
        name,
    };
    pod("orders-1").probe(
        &app,
        "readiness",
        1,
        "readiness fail: orders: cannot ask: the status file *: No such file *",
    );
    pod("orders-1").probe(
        &app,
        "liveness",
        0,
        "liveness pass: orders: cannot ask, which is not this pod's fault: *",
    );
    let sidecar = pod("orders-1").sidecar(&watch);
    wait_for("both", || (status()?["instances"] == 2).then_some(()));
    pod("orders-1").probes(&app, 0, &format!("{} answered *s ago", one.id()));
    one.kill();
    sidecar.check_at_once();
    wait_for("one", || (status()?["instances"] == 1).then_some(()));
    pod("orders-1").probes(
        &app,
        1,
        "the instance with pod=orders-1 did not answer *s ago, though others did",
    );
    pod("orders-2").probes(&app, 0, "* answered *s ago");
    server.stop();
    sidecar.check_at_once();
    wait_for("NATS is away", || (status()?["asked"] == false).then_some(()));
    let pod = Pod {
        dir: &dir,
        server: &server,
        name: "orders-1",
    };
    pod.probe(
        &app,
        "readiness",
        1,
        "readiness fail: orders: cannot ask: cannot reach NATS at *",
    );
    pod.probe(
        &app,
        "liveness",
        0,
        "liveness pass: orders: cannot ask, which is not this pod's fault: cannot reach NATS at *",
    );
}

/// The probes of the application go to the sidecar's port, which Prometheus scrapes, too.
#[test]
#[ignore = "needs nats-server"]
fn the_sidecar_over_http_runs_as_it_stands() {
    each(["sidecar-http.yaml", "sidecar-http-classic.yaml"], |manifest| {
        let (mut server, dir, _) = locked();
        let [one, _two] = ["orders-1", "orders-2"].map(|pod| instance(&server, &dir, pod));
        let (app, mut watch) = (container(manifest, "orders"), container(manifest, "watch"));
        let is_native = manifest == "sidecar-http.yaml";
        assert_eq!(watch["restartPolicy"] == "Always", is_native, "{manifest}");
        assert_eq!(watch["ports"][0]["containerPort"], 9422);
        // All pods of the test are in one network.
        let ports = [free_port(), free_port()];
        let sidecars = ["orders-1", "orders-2"].into_iter().zip(ports).map(|(name, port)| {
            let args = watch["args"].as_array_mut().unwrap();
            let at = args.iter().position(|arg| arg == "--listen").unwrap() + 1;
            args[at] = format!(":{port}").into();
            let pod = Pod {
                dir: &dir,
                server: &server,
                name,
            };
            pod.sidecar(&watch)
        });
        let sidecars: Vec<Sidecar> = sidecars.collect();
        let probe = |pod: usize, kind: &str, status: u16| {
            let get = &app[format!("{kind}Probe")]["httpGet"];
            assert_eq!(get["port"], 9422);
            let path = get["path"].as_str().unwrap();
            wait_for(&format!("{kind} of orders-{} {status}", pod + 1), || {
                let reply = http::ask(ports[pod], "GET", path).ok()?;
                (reply.status == status).then_some(reply.body)
            })
        };
        for kind in ["startup", "readiness", "liveness"] {
            assert!(probe(0, kind, 200).contains(one.id()));
            probe(1, kind, 200);
        }
        one.kill();
        sidecars.iter().for_each(Sidecar::check_at_once);
        let line = "liveness fail: orders: the instance with pod=orders-1 did not answer ";
        assert!(probe(0, "liveness", 503).starts_with(line));
        probe(1, "liveness", 200);
        let metrics = http::get(ports[1], "/metrics").unwrap();
        assert!(
            Metrics::parse(&metrics).of("orders", "nats_service_up") == Some(1.0),
            "{metrics}"
        );
        server.stop();
        sidecars.iter().for_each(Sidecar::check_at_once);
        for pod in 0..2 {
            probe(pod, "readiness", 503);
            probe(pod, "liveness", 200);
        }
    });
}

#[test]
#[ignore = "needs nats-py"]
fn the_pod_monitors_find_their_ports() {
    let monitors = documents("podmonitor.yaml");
    let manifests = ["sidecar-http.yaml", "all-services.yaml"];
    assert_eq!(monitors.len(), manifests.len());
    for (monitor, manifest) in monitors.iter().zip(manifests) {
        assert_eq!(
            (&monitor["apiVersion"], &monitor["kind"]),
            (&"monitoring.coreos.com/v1".into(), &"PodMonitor".into())
        );
        let deployment = documents(manifest).remove(0);
        let (pod, exporter) = (&deployment["spec"]["template"], container(manifest, "watch"));
        assert_eq!(
            monitor["spec"]["selector"]["matchLabels"]["app"],
            pod["metadata"]["labels"]["app"]
        );
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        assert_eq!(
            (&endpoint["port"], &endpoint["path"]),
            (&exporter["ports"][0]["name"], &"/metrics".into())
        );
        // Else `endpoint`, a label of ours, is renamed: the operator has one of that name.
        assert_eq!(endpoint["honorLabels"], true);
        assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], "9422");
        let documents = documents(manifest);
        let policy = documents.iter().find(|document| document["kind"] == "NetworkPolicy");
        assert_eq!(policy.unwrap()["spec"]["ingress"][0]["ports"][0]["port"], 9422);
    }
}

#[test]
#[ignore = "needs nats-py"]
fn the_rules_of_the_operator_are_those_of_prometheus() {
    let rule = documents("prometheusrule.yaml").remove(0);
    assert_eq!(
        (&rule["apiVersion"], &rule["kind"]),
        (&"monitoring.coreos.com/v1".into(), &"PrometheusRule".into())
    );
    let rules = documents("../prometheus/nats-service.rules.yml").remove(0);
    assert_eq!(rule["spec"]["groups"], rules["groups"]);
}

/// The exporter of all services: what it serves, and that its memory outlives its pod, on a volume that is open to its group.
#[test]
#[ignore = "needs nats-server"]
fn the_exporter_of_all_services_runs_as_it_stands() {
    let (server, dir, _) = locked();
    let orders = instance(&server, &dir, "orders-1");
    let _mail = Service::async_nats(&server.url(), "mail")
        .creds(&dir.join("orders.creds"))
        .start();
    let mut exporter = container("all-services.yaml", "watch");
    assert_eq!(exporter["ports"][0]["containerPort"], 9422);
    assert_eq!(exporter["livenessProbe"]["httpGet"]["path"], "/healthz");
    let port = free_port();
    let args = exporter["args"].as_array_mut().unwrap();
    let at = args.iter().position(|arg| arg == "--listen").unwrap() + 1;
    args[at] = format!(":{port}").into();
    fs::create_dir(dir.join("volume")).unwrap();
    fs::set_permissions(dir.join("volume"), fs::Permissions::from_mode(0o2775)).unwrap();
    exporter["env"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}));
    let pod = Pod {
        dir: &dir,
        server: &server,
        name: "nats-services-1",
    };
    let metrics = |what: &str, name: &str, service: &str, value: f64| {
        wait_for(what, || {
            let metrics = Metrics::parse(&http::get(port, "/metrics").ok()?);
            (metrics.of(service, name) == Some(value)).then_some(())
        });
    };
    let sidecar = pod.sidecar(&exporter);
    metrics("orders is up", "nats_service_up", "orders", 1.0);
    metrics("mail is up", "nats_service_up", "mail", 1.0);
    wait_for("healthy", || http::get(port, "/healthz").ok());
    orders.kill();
    drop(sidecar);
    let _next = pod.sidecar(&exporter);
    metrics(
        "the next pod knows that orders was there",
        "nats_service_outage",
        "orders",
        1.0,
    );
    metrics("mail is still up", "nats_service_up", "mail", 1.0);
}

#[test]
#[ignore = "needs nats-server"]
fn the_metrics_are_written_as_they_stand() {
    let (server, dir, _) = locked();
    let _service = Service::async_nats(&server.url(), "orders")
        .creds(&dir.join("orders.creds"))
        .start();
    let pod = Pod {
        dir: &dir,
        server: &server,
        name: "orders-watch-1",
    };
    let _sidecar = pod.sidecar(&container("metrics.yaml", "watch"));
    let metrics = wait_for("the metrics", || fs::read_to_string(dir.join("orders.prom")).ok());
    assert!(
        Metrics::parse(&metrics).of("orders", "nats_service_up") == Some(1.0),
        "{metrics}"
    );
    // What the other container is told to read.
    let exporter = container("metrics.yaml", "node-exporter");
    let args: Vec<&str> = exporter["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        args,
        [
            "--collector.disable-defaults",
            "--collector.textfile",
            "--collector.textfile.directory=/metrics"
        ]
    );
}

/// The services beside the manifests, started as in a pod.
#[test]
#[ignore = "needs nats-server"]
fn the_services_say_which_pod_they_are_in() {
    let server = Server::start(Version::Newest);
    let dir = TempDir::new();
    let services = folder().join("services");
    std::os::unix::fs::symlink(
        Path::new(&from_env("NATS_JS")).join("node_modules"),
        dir.join("node_modules"),
    )
    .unwrap();
    fs::copy(services.join("orders.mjs"), dir.join("orders.mjs")).unwrap();
    let python = services.join("orders.py").to_str().unwrap().to_owned();
    let cases = [
        vec![from_env("NATS_PY_PYTHON"), python],
        vec!["node".to_owned(), dir.join("orders.mjs")],
        // Compiled as it stands by tests/run.sh.
        vec![format!("{}/orders", from_env("NATS_GO_1_41"))],
    ];
    let app = container("app.yaml", "orders");
    for (n, words) in cases.into_iter().enumerate() {
        let name = format!("orders-{n}");
        let pod = Pod {
            dir: &dir,
            server: &server,
            name: &name,
        };
        let id_file = dir.join("instance-id");
        let _ = fs::remove_file(&id_file);
        let mut command = process::command(&words[0]);
        command
            .args(&words[1..])
            .envs(pod.env(&app))
            .env("ID_FILE", &id_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut service = process::spawn(command);
        let id = wait_for("its id", || {
            fs::read_to_string(&id_file).ok().filter(|id| !id.is_empty())
        });
        let ask = |flags: &[&str]| {
            Check::new(["probe", "liveness", "-n", "orders", "-s", &server.url()])
                .args(flags)
                .env("POD_NAME", &name)
                .run()
        };
        let line = format!("liveness pass: orders: {id} (1.0.0, pod={name}) answered in *ms");
        ask(&["--match-env", "pod=POD_NAME"]).assert(0, &line);
        ask(&["--id-file", &id_file]).assert(0, &line);
        process::signal(&service, libc::SIGTERM);
        let ended = process::wait(&mut service, LIMIT);
        process::kill(&mut service);
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "it leaves in order");
        ask(&["--id-file", &id_file]).assert(1, "liveness fail: orders: instance * is gone, no responders, NATS *");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_least_permissions_are_enough() {
    let config = fs::read_to_string(folder().join("nats-permissions.conf")).unwrap();
    let more = "users: [\n    { user: svc, password: svc },";
    let config = config.replace("$MON_PASSWORD", "pw").replacen("users: [", more, 1);
    let server = Server::with_config(Version::Newest, &config);
    let url = server.url().replace("//", "//svc:svc@");
    let service = Service::async_nats(&url, "orders").metadata("pod", "one").start();
    let login = ["-s", &server.url(), "--user", "mon", "--password", "pw", "-n", "orders"];
    for which in [["--match", "pod=one"], ["--id", service.id()]] {
        let out = Check::new(["probe", "readiness", "--timeout", "3s"])
            .args(login)
            .args(which)
            .run();
        out.assert(0, "readiness pass: orders: * (1.0.0, pod=one) answered in *ms");
    }
    // And not more than enough.
    let out = Check::new(["probe", "readiness", "--any-instance", "-n", "billing"])
        .args(&login[..6])
        .run();
    out.assert(
        1,
        "readiness fail: billing: cannot ask: NATS at * does not let us publish to $SRV.PING.billing, *",
    );
}
