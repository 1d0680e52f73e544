//! The manifests are valid and safe, and the commands in them run as they stand, with the services beside them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use super::support::check::BINARY;
use super::support::manifest::{
    PROBES, Pod, container, containers, documents, folder, forbidden, instance, locked, names, text, tool, validate,
};
use super::support::server::free_port;
use super::support::{
    Check, LIMIT, Metrics, Server, Service, TempDir, Version, each, from_env, http, markdown, process, wait_for,
};

#[test]
#[ignore = "needs kubernetes-validate"]
fn the_manifests_are_valid() {
    let names = names();
    assert_eq!(
        names,
        [
            "all-services.yaml",
            "app-id-file.yaml",
            "app.yaml",
            "checkov.yaml",
            "credentials.yaml",
            "networkpolicy-all-services.yaml",
            "networkpolicy-egress.yaml",
            "networkpolicy-sidecar.yaml",
            "podmonitor.yaml",
            "prometheusrule.yaml",
            "sidecar-http-classic.yaml",
            "sidecar-http.yaml",
            "sidecar.yaml"
        ]
    );
    // Kinds of the Prometheus operator, which the validator does not know: the_kinds_of_the_operator_fit_its_schemas looks at
    // them. checkov.yaml is no manifest.
    let known = |name: &&String| !["checkov.yaml", "podmonitor.yaml", "prometheusrule.yaml"].contains(&name.as_str());
    names
        .iter()
        .filter(known)
        .for_each(|name| validate(folder().join(name), 0));
    let dir = TempDir::new();
    let wrong = dir.join("wrong.yaml");
    fs::write(&wrong, text("app.yaml").replace("livenessProbe:", "livelinessProbe:")).unwrap();
    validate(&wrong, 1);
}

/// Types that were made from the schemas of the operator: an unknown key, a wrong type and a missing part are errors of the compiler.
#[test]
#[ignore = "needs the types of the Prometheus operator"]
fn the_kinds_of_the_operator_fit_its_schemas() {
    let types = PathBuf::from(from_env("OPERATOR_TYPES")).join("node_modules");
    let dir = TempDir::new();
    symlink(&types, dir.join("node_modules")).unwrap();
    let mut code: String = ["PodMonitor", "PrometheusRule"]
        .map(|kind| {
            format!(
                "import {{ I{kind} }} from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/{kind}';\n"
            )
        })
        .concat();
    let all: Vec<Value> = ["podmonitor.yaml", "prometheusrule.yaml"]
        .into_iter()
        .flat_map(documents)
        .collect();
    assert_eq!(all.len(), 3);
    for (n, object) in all.iter().enumerate() {
        let kind = object["kind"].as_str().unwrap();
        code += &format!("export const object{n}: I{kind} = {object};\n");
    }
    // What is wrong has to be an error: without one, the compiler complains of the line before it.
    for (n, (right, wrong)) in [
        ("\"honorLabels\"", "\"honourLabels\""),
        ("\"honorLabels\":true", "\"honorLabels\":\"yes\""),
        ("\"selector\"", "\"selectors\""),
    ]
    .into_iter()
    .enumerate()
    {
        let text = all[0].to_string();
        assert!(text.contains(right), "{text}");
        let text = text.replace(right, wrong);
        code += &format!("// @ts-expect-error\nexport const wrong{n}: IPodMonitor = {text};\n");
    }
    fs::write(dir.join("objects.ts"), code).unwrap();
    let compiler = types.join("typescript/bin/tsc").display().to_string();
    let out = Check::program("node", [&compiler, "--noEmit", "--strict", "--skipLibCheck"])
        .args(["--module", "nodenext", &dir.join("objects.ts")])
        .run();
    assert_eq!((out.code, out.stdout.as_str()), (Some(0), ""), "{out:?}");
}

/// All Deployments, each with the name of its manifest.
fn deployments() -> Vec<(String, Value)> {
    let all = names().into_iter().flat_map(|name| {
        let deployments = documents(&name).into_iter().filter(|it| it["kind"] == "Deployment");
        deployments.map(move |deployment| (name.clone(), deployment))
    });
    let all: Vec<_> = all.collect();
    assert_eq!(all.len(), 6);
    all
}

#[test]
#[ignore = "needs PyYAML"]
fn every_pod_meets_the_restricted_level_and_has_no_token() {
    for (name, deployment) in deployments() {
        assert_eq!(forbidden(&deployment), [""; 0], "{name}");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        for container in containers(&deployment) {
            assert_eq!(
                container["securityContext"]["readOnlyRootFilesystem"], true,
                "{name}: {container}"
            );
        }
    }
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
            json!({"name": "x", "hostPath": {}}),
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

/// Every container requests CPU and memory, has a limit of memory and none of CPU, and the manifest says why.
#[test]
#[ignore = "needs PyYAML"]
fn every_container_has_resources_with_a_reason() {
    for (name, deployment) in deployments() {
        for container in containers(&deployment) {
            let resources = &container["resources"];
            for pointer in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                assert!(
                    resources.pointer(pointer).is_some_and(Value::is_string),
                    "{name}: {container}"
                );
            }
            assert!(
                resources["limits"]["cpu"].is_null(),
                "a limit of CPU makes probes late: {name}: {container}"
            );
        }
        let text = text(&name);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[1] == "resources:") {
            // Not those that a volume claim requests.
            assert!(
                pair[0].starts_with('#') || pair[0].starts_with("accessModes"),
                "{name}: {pair:?}"
            );
        }
    }
}

/// A Secret that comes late blocks no pod: it is optional wherever it is mounted. The service has the same login as its probes.
#[test]
#[ignore = "needs PyYAML"]
fn every_secret_is_optional_and_every_service_knows_nats() {
    for (name, deployment) in deployments() {
        let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
        let secrets: Vec<&Value> = volumes
            .as_array()
            .unwrap()
            .iter()
            .map(|volume| &volume["secret"])
            .collect();
        let secrets: Vec<&&Value> = secrets.iter().filter(|secret| secret.is_object()).collect();
        assert_eq!(
            secrets,
            [&&json!({"secretName": "nats-credentials", "optional": true})],
            "{name}"
        );
        for container in containers(&deployment) {
            let value = |variable: &str| {
                let all = container["env"].as_array().unwrap();
                let found = all.iter().find(|one| one["name"] == variable);
                found.map(|one| one["value"].clone())
            };
            assert_eq!(value("NATS_URL"), Some("nats://nats.nats.svc:4222".into()), "{name}");
            assert_eq!(value("NATS_CREDS"), Some("/etc/nats/nats.creds".into()), "{name}");
            let mounts = container["volumeMounts"].as_array().unwrap();
            assert!(mounts.iter().any(|mount| mount["mountPath"] == "/etc/nats"), "{name}");
        }
    }
    // As the Secret calls it.
    let secret = documents("credentials.yaml").remove(0);
    let names: Vec<&String> = secret["stringData"].as_object().unwrap().keys().collect();
    assert_eq!(
        (secret["metadata"]["name"].as_str(), names),
        (Some("nats-credentials"), vec![&"nats.creds".to_owned()])
    );
}

/// Each policy is a file of its own, since it closes more than it opens, and says so first.
#[test]
#[ignore = "needs PyYAML"]
fn a_network_policy_says_first_what_it_closes() {
    let (policies, others): (Vec<_>, Vec<_>) = names().into_iter().partition(|name| name.starts_with("networkpolicy-"));
    for name in others {
        assert!(
            documents(&name)
                .iter()
                .all(|document| document["kind"] != "NetworkPolicy"),
            "{name}"
        );
    }
    for name in policies {
        assert!(text(&name).starts_with("# Closes "), "{name}");
        assert_eq!(documents(&name).len(), 1, "{name}");
    }
    let labels = |manifest: &str| documents(manifest).remove(0)["spec"]["template"]["metadata"]["labels"].clone();
    let spec = |policy: &str| documents(policy).remove(0)["spec"].clone();
    let all = spec("networkpolicy-all-services.yaml");
    assert_eq!(
        all["podSelector"]["matchLabels"]["app"],
        labels("all-services.yaml")["app"]
    );
    let sidecar = spec("networkpolicy-sidecar.yaml");
    assert_eq!(
        sidecar["podSelector"]["matchExpressions"],
        json!([{"key": "nats-service", "operator": "Exists"}])
    );
    for policy in [all, sidecar] {
        assert_eq!(
            policy["ingress"][0]["ports"],
            json!([{"protocol": "TCP", "port": 9422}])
        );
    }
    let egress = spec("networkpolicy-egress.yaml");
    assert_eq!(egress["podSelector"]["matchLabels"], json!({"nats-client": "true"}));
    let dns = &egress["egress"][1];
    assert_eq!(
        dns["to"][1]["ipBlock"]["cidr"], "169.254.20.10/32",
        "NodeLocal DNSCache"
    );
    assert_eq!(
        dns["ports"],
        json!([{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}])
    );
    for (name, deployment) in deployments() {
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["nats-client"], "true", "{name}");
        assert_eq!(
            labels["nats-service"] == "orders",
            name.starts_with("sidecar-http"),
            "{name}"
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_probes_run_as_they_stand() {
    let (server, dir, creds) = locked();
    let (app, by_file) = (container("app.yaml", "orders"), container("app-id-file.yaml", "orders"));
    let pod = |name| Pod::new(&dir, &server, name);
    // The Secret comes late.
    for kind in ["startup", "liveness"] {
        let line = format!("{kind} pass: orders: cannot ask, which is not this pod's fault: *No such file*");
        pod("orders-1").probe(&app, kind, 0, &line);
    }
    fs::write(dir.join("nats.creds"), creds).unwrap();
    let [one, _two] = ["orders-1", "orders-2"].map(|pod| instance(&server, &dir, pod));
    for name in ["orders-1", "orders-2"] {
        pod(name).probes(&app, 0, &format!("* (1.0.0, pod={name}) answered in *"));
    }
    pod("orders-1").probes(&by_file, 1, "no instance yet: the id file *");
    fs::write(dir.join("instance-id"), one.id()).unwrap();
    pod("orders-1").probes(
        &by_file,
        0,
        &format!("{} (1.0.0, pod=orders-1) answered in *", one.id()),
    );
    one.kill();
    pod("orders-1").probes(
        &app,
        1,
        "the instance with pod=orders-1 does not answer within *, though others do, NATS *",
    );
    pod("orders-1").probes(&by_file, 1, "instance * is gone, no responders, NATS *");
    pod("orders-2").probes(&app, 0, "* (1.0.0, pod=orders-2) answered in *");
}

#[test]
#[ignore = "needs nats-server"]
fn the_sidecar_runs_as_it_stands() {
    let (mut server, dir, creds) = locked();
    fs::write(dir.join("nats.creds"), creds).unwrap();
    let [one, _two] = ["orders-1", "orders-2"].map(|pod| instance(&server, &dir, pod));
    let (app, watch) = (container("sidecar.yaml", "orders"), container("sidecar.yaml", "watch"));
    let status = || -> Option<Value> { serde_json::from_str(&fs::read_to_string(dir.join("orders.json")).ok()?).ok() };
    let pod = |name| Pod::new(&dir, &server, name);
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
    let sidecar = pod("orders-1").sidecar(&watch, None);
    wait_for("both", || (status()?["instances"] == 2).then_some(()));
    pod("orders-1").probes(&app, 0, &format!("{} answered *s ago", one.id()));
    one.kill();
    sidecar.check_at_once();
    wait_for("one", || (status()?["instances"] == 1).then_some(()));
    pod("orders-1").probes(
        &app,
        1,
        "the instance with pod=orders-1 did not answer the check of *s ago, though others did",
    );
    pod("orders-2").probes(&app, 0, "* answered *s ago");
    server.stop();
    sidecar.check_at_once();
    wait_for("NATS is away", || (status()?["asked"] == false).then_some(()));
    let pod = Pod::new(&dir, &server, "orders-1");
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
        let (mut server, dir, creds) = locked();
        fs::write(dir.join("nats.creds"), creds).unwrap();
        let [one, _two] = ["orders-1", "orders-2"].map(|pod| instance(&server, &dir, pod));
        let (app, watch) = (container(manifest, "orders"), container(manifest, "watch"));
        let is_native = manifest == "sidecar-http.yaml";
        assert_eq!(watch["restartPolicy"] == "Always", is_native, "{manifest}");
        assert_eq!(watch["ports"][0]["containerPort"], 9422);
        // All pods of the test are in one network.
        let ports = [free_port(), free_port()];
        let sidecars = ["orders-1", "orders-2"].into_iter().zip(ports);
        let sidecars = sidecars.map(|(name, port)| Pod::new(&dir, &server, name).sidecar(&watch, Some(port)));
        let sidecars: Vec<_> = sidecars.collect();
        let probe = |pod: usize, kind: &str, status: u16| {
            let get = &app[format!("{kind}Probe")]["httpGet"];
            assert_eq!(get["port"], 9422);
            let path = get["path"].as_str().unwrap();
            http::wait_for_status(ports[pod], path, status)
        };
        for kind in PROBES {
            assert!(probe(0, kind, 200).contains(one.id()));
            probe(1, kind, 200);
        }
        one.kill();
        sidecars.iter().for_each(|sidecar| sidecar.check_at_once());
        let line = "liveness fail: orders: the instance with pod=orders-1 did not answer ";
        assert!(probe(0, "liveness", 503).starts_with(line));
        probe(1, "liveness", 200);
        let metrics = http::get(ports[1], "/metrics").unwrap();
        assert!(
            Metrics::parse(&metrics).of("orders", "nats_service_up") == Some(1.0),
            "{metrics}"
        );
        server.stop();
        sidecars.iter().for_each(|sidecar| sidecar.check_at_once());
        for pod in 0..2 {
            probe(pod, "readiness", 503);
            probe(pod, "liveness", 200);
        }
        let healthz = watch["livenessProbe"]["httpGet"]["path"].as_str().unwrap();
        http::wait_for_status(ports[0], healthz, 200);
    });
}

#[test]
#[ignore = "needs PyYAML"]
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
        let labels = &pod["metadata"]["labels"];
        let selector = &monitor["spec"]["selector"];
        match selector["matchLabels"]["app"].as_str() {
            Some(app) => assert_eq!(labels["app"], app),
            None => {
                let exists = json!([{"key": "nats-service", "operator": "Exists"}]);
                assert_eq!(selector["matchExpressions"], exists);
                assert!(labels["nats-service"].is_string());
            }
        }
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        assert_eq!(
            (&endpoint["port"], &endpoint["path"]),
            (&exporter["ports"][0]["name"], &"/metrics".into())
        );
        // Else `endpoint`, a label of ours, is renamed: the operator has one of that name.
        assert_eq!(endpoint["honorLabels"], true);
        assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], "9422");
    }
}

#[test]
#[ignore = "needs PyYAML"]
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
    let (server, dir, creds) = locked();
    fs::write(dir.join("nats.creds"), creds).unwrap();
    let orders = instance(&server, &dir, "orders-1");
    let _mail = Service::async_nats(&server.url(), "mail")
        .creds(&dir.join("nats.creds"))
        .start();
    let mut exporter = container("all-services.yaml", "watch");
    assert_eq!(exporter["ports"][0]["containerPort"], 9422);
    assert_eq!(exporter["livenessProbe"]["httpGet"]["path"], "/healthz");
    let port = free_port();
    fs::create_dir(dir.join("volume")).unwrap();
    fs::set_permissions(dir.join("volume"), fs::Permissions::from_mode(0o2775)).unwrap();
    exporter["env"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}));
    let pod = Pod::new(&dir, &server, "nats-services-1");
    let metrics = |what: &str, name: &str, service: &str, value: f64| {
        wait_for(what, || {
            let metrics = Metrics::parse(&http::get(port, "/metrics").ok()?);
            (metrics.of(service, name) == Some(value)).then_some(())
        });
    };
    let sidecar = pod.sidecar(&exporter, Some(port));
    metrics("orders is up", "nats_service_up", "orders", 1.0);
    metrics("mail is up", "nats_service_up", "mail", 1.0);
    wait_for("healthy", || http::get(port, "/healthz").ok());
    orders.kill();
    drop(sidecar);
    let _next = pod.sidecar(&exporter, Some(port));
    metrics(
        "the next pod knows that orders was there",
        "nats_service_outage",
        "orders",
        1.0,
    );
    metrics("mail is still up", "nats_service_up", "mail", 1.0);
}

/// The services beside the manifests, started as in a pod: before the Secret is there, and while NATS is away.
#[test]
#[ignore = "needs nats-server"]
fn the_services_wait_for_nats_and_say_which_pod_they_are_in() {
    let services = folder().join("services");
    let python = services.join("orders.py").to_str().unwrap().to_owned();
    each(0..3, |n| {
        let (mut server, dir, creds) = locked();
        std::os::unix::fs::symlink(
            Path::new(&from_env("NATS_JS")).join("node_modules"),
            dir.join("node_modules"),
        )
        .unwrap();
        fs::copy(services.join("orders.mjs"), dir.join("orders.mjs")).unwrap();
        let words = match n {
            0 => vec![from_env("NATS_PY_PYTHON"), python.clone()],
            1 => vec!["node".to_owned(), dir.join("orders.mjs")],
            // Compiled as it stands by tests/run.sh.
            _ => vec![format!("{}/orders", from_env("NATS_GO_1_41"))],
        };
        let name = format!("orders-{n}");
        let app = container("app.yaml", "orders");
        let id_file = dir.join("instance-id");
        let env = Pod::new(&dir, &server, &name).env(&app);
        let start = || {
            let mut command = process::command(&words[0]);
            command
                .args(&words[1..])
                .envs(env.clone())
                .env("ID_FILE", &id_file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            process::spawn(command)
        };
        let mut service = start();
        // Only nats-py connects without the file.
        let created = || server.log().matches("Client connection created").count();
        wait_for("attempts without the Secret", || {
            (n > 0 || created() >= 2).then_some(())
        });
        let pod = Pod::new(&dir, &server, &name);
        let line = "liveness pass: orders: cannot ask, which is not this pod's fault: *No such file*";
        pod.probe(&app, "liveness", 0, line);
        server.stop();
        fs::write(dir.join("nats.creds"), creds).unwrap();
        // It tries again: something that is no NATS has its port meanwhile.
        let listener = TcpListener::bind(("127.0.0.1", server.port())).unwrap();
        listener.set_nonblocking(true).unwrap();
        for _ in 0..2 {
            wait_for(&format!("{words:?} tries again"), || listener.accept().ok());
        }
        drop(listener);
        assert!(service.try_wait().unwrap().is_none(), "{words:?} waits for NATS");
        server.start_again();
        let pod = Pod::new(&dir, &server, &name);
        wait_for(&format!("{words:?} answers"), || {
            let args = ["probe", "readiness", "-n", "orders", "--match-env", "pod=POD_NAME"];
            let check = env
                .iter()
                .fold(Check::new(args), |check, (name, value)| check.env(name, value));
            (check.run().code == Some(0)).then_some(())
        });
        let id = wait_for("its id", || {
            fs::read_to_string(&id_file).ok().filter(|id| !id.is_empty())
        });
        pod.probes(&app, 0, &format!("{id} (1.0.0, pod={name}) answered in *"));
        pod.probes(
            &container("app-id-file.yaml", "orders"),
            0,
            &format!("{id} (1.0.0, pod={name}) answered in *"),
        );
        process::signal(service.id(), libc::SIGTERM);
        let ended = process::wait(&mut service, LIMIT);
        process::kill(&mut service);
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "it leaves in order");
        pod.probe(
            &container("app-id-file.yaml", "orders"),
            "liveness",
            1,
            "liveness fail: orders: instance * is gone, no responders, NATS *",
        );
    });
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
        out.assert(0, "readiness pass: orders: * (1.0.0, pod=one) answered in *");
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

/// The lines in packaging/kubernetes/README.md are those that the program prints, except for numbers, names and addresses.
#[test]
#[ignore = "needs nats-server"]
fn the_lines_of_the_readme_are_those_of_the_program() {
    let readme = markdown::read("packaging/kubernetes/README.md");
    // A word with a digit is a number, an id or an address.
    let shape = |line: &str| {
        let words = line.split_whitespace();
        let words = words.map(|word| {
            if word.contains(|c: char| c.is_ascii_digit()) {
                "#"
            } else {
                word
            }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let blocks = markdown::blocks(&readme, "").concat();
    let shown: Vec<String> = blocks.lines().map(shape).collect();
    let server = Server::start(Version::Newest);
    let service = |metadata: &[&str]| {
        let service = Service::async_nats(&server.url(), "orders");
        metadata
            .iter()
            .fold(service, |service, pod| service.metadata("pod", pod))
            .start()
    };
    let probe = |url: &str| {
        let args = [
            "probe",
            "liveness",
            "-n",
            "orders",
            "--match",
            "pod=orders-6d5f-x2x7p",
            "--timeout",
            "5s",
            "-s",
            url,
        ];
        Check::new(args).run().stdout.replace("nats://", "")
    };
    let (one, two) = (service(&[]), service(&[]));
    let without = probe(&server.url());
    drop((one, two));
    let other = service(&["orders-6d5f-9kq4z"]);
    let missing = probe(&server.url());
    let away = probe(&format!("nats://127.0.0.1:{}", free_port()));
    for line in [without, missing, away] {
        assert!(shown.contains(&shape(&line)), "{line}: {shown:?}");
    }
    drop(other);

    let (three, port) = (
        Service::async_nats(&server.url(), "orders").count(3).start(),
        free_port(),
    );
    let mut pod = process::command(BINARY);
    let port_to_listen = format!("127.0.0.1:{port}");
    pod.args([
        "watch",
        "-n",
        "orders",
        "--id",
        &three.ids()[0],
        "--interval",
        "10s",
        "-s",
        &server.url(),
        "--listen",
        &port_to_listen,
    ])
    .stdout(Stdio::null())
    .stderr(Stdio::null());
    let mut pod = process::spawn(pod);
    let text = http::wait_for_status(port, "/readyz?verbose", 200);
    // An id without a digit would be taken for a word.
    let text = text.replace(&three.ids()[0], "8RtjCkdgy4mMOfp2WJTJnt");
    process::kill(&mut pod);
    let command = "$ curl -s 'http://127.0.0.1:9422/readyz?verbose'";
    let at = blocks.lines().position(|line| line == command).unwrap();
    for (line, printed) in shown[at + 1..].iter().zip(text.lines()) {
        assert_eq!(*line, shape(printed), "{text}");
    }

    // The files that are applied are there, and the Secret is what the manifests mount.
    let commands: Vec<&str> = blocks.lines().filter(|line| line.starts_with("kubectl ")).collect();
    let applied = commands.iter().flat_map(|line| line.split(" -f ").skip(1));
    let applied: Vec<&str> = applied.map(|name| name.split(' ').next().unwrap()).collect();
    assert_eq!(applied.len(), 4);
    applied.into_iter().for_each(|name| drop(documents(name)));
    let dir = TempDir::new();
    fs::write(dir.join("nats.creds"), "the JWT").unwrap();
    let words: Vec<&str> = commands[0].split(' ').collect();
    let out = Check::program(&tool("kubectl"), &words[1..])
        .args(["--dry-run=client", "-o", "json"])
        .cwd(dir.path())
        .run();
    let secret: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|_| panic!("{out:?}"));
    assert_eq!(
        (&secret["metadata"]["name"], secret["data"]["nats.creds"].is_string()),
        (&"nats-credentials".into(), true)
    );
}
