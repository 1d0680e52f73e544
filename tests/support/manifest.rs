//! The manifests of packaging/kubernetes: what is in them, and their pods run on this machine as they stand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::check::{BINARY, matches};
use super::jwt::{Account, Operator, User};
use super::{Check, Output, Server, Service, TempDir, Version, from_env, markdown, process};

/// The newest Kubernetes that kubernetes-validate knows.
const KUBERNETES: &str = "1.37";

pub const PROBES: [&str; 3] = ["startup", "liveness", "readiness"];

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/kubernetes")
}

/// A program of the Python environment of the tests.
pub fn tool(name: &str) -> String {
    let python = from_env("NATS_PY_PYTHON");
    Path::new(&python).with_file_name(name).to_str().unwrap().to_owned()
}

/// All manifests, without the parts of the component.
pub fn names() -> Vec<String> {
    let names = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
}

pub fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The documents of a YAML file.
pub fn parse(path: impl AsRef<Path>) -> Vec<Value> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let path = path.as_ref().to_str().unwrap();
    let out = Check::program(&from_env("NATS_PY_PYTHON"), ["-c", script, path]).run();
    assert_eq!(out.code, Some(0), "{out:?}");
    serde_json::from_str(&out.stdout).unwrap()
}

/// The documents of a manifest.
pub fn documents(name: &str) -> Vec<Value> {
    parse(folder().join(name))
}

/// Checks a file against the schemas of Kubernetes: unknown keys are errors.
#[track_caller]
pub fn validate(path: impl AsRef<Path>, code: i32) {
    let path = path.as_ref().to_str().unwrap();
    let args = ["--strict", "--kubernetes-version", KUBERNETES, path];
    let out = Check::program(&tool("kubernetes-validate"), args).run();
    assert_eq!(out.code, Some(code), "{out:?}");
}

/// All containers of a Deployment, with the init containers.
pub fn containers(deployment: &Value) -> Vec<Value> {
    let spec = &deployment["spec"]["template"]["spec"];
    let lists = ["initContainers", "containers"]
        .into_iter()
        .filter_map(|key| spec[key].as_array());
    lists.flatten().cloned().collect()
}

pub fn container(name: &str, container: &str) -> Value {
    let found = documents(name)
        .iter()
        .flat_map(containers)
        .find(|found| found["name"] == container);
    found.unwrap_or_else(|| panic!("{name}: no {container}"))
}

/// Returns the settings that the Pod Security level *restricted* (which includes *baseline*) forbids in the pods of a manifest,
/// as https://kubernetes.io/docs/concepts/security/pod-security-standards/ lists them.
pub fn forbidden(deployment: &Value) -> Vec<String> {
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
        for probe in PROBES.map(|kind| format!("{kind}Probe")) {
            for kind in ["httpGet", "tcpSocket"] {
                let host = &container[&probe][kind]["host"];
                rule(host.is_null(), format!("{name}: host of {probe}"));
            }
        }
    }
    found
}

/// The files of the quick start in README.md.
pub fn quick_start() -> [(&'static str, String); 2] {
    let section = markdown::section("README.md", "## Kubernetes");
    let blocks = markdown::blocks(&section, "yaml");
    ["kustomization.yaml", "deployment.yaml"].map(|name| {
        let block = blocks.iter().find(|block| block.starts_with(&format!("# {name}")));
        (name, block.unwrap_or_else(|| panic!("no {name}: {blocks:?}")).clone())
    })
}

/// Builds a folder of manifests with the component in it.
pub fn render(files: &[(&str, String)]) -> Vec<Value> {
    let dir = TempDir::new();
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
    let component = folder().join("component");
    fs::create_dir(dir.join("component")).unwrap();
    for entry in fs::read_dir(component).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::copy(&path, dir.join(&format!("component/{name}"))).unwrap();
    }
    let out = Check::program(&tool("kubectl"), ["kustomize"]).arg(dir.path()).run();
    assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
    let rendered = dir.join("rendered.yaml");
    fs::write(&rendered, out.stdout).unwrap();
    validate(&rendered, 0);
    parse(rendered)
}

/// A pod on this machine: its volumes are folders in `dir`, and its NATS is `server`.
#[derive(Clone)]
pub struct Pod<'t> {
    dir: &'t TempDir,
    server: &'t Server,
    name: &'t str,
    /// Its labels, for the downward API.
    pub labels: Value,
    /// The data of the ConfigMap that its containers name.
    pub config: Value,
}

impl<'t> Pod<'t> {
    pub fn new(dir: &'t TempDir, server: &'t Server, name: &'t str) -> Pod<'t> {
        Pod {
            dir,
            server,
            name,
            labels: Value::Null,
            config: Value::Null,
        }
    }

    /// A text of the manifest, with the paths and the server of this pod.
    fn place(&self, text: &str) -> String {
        let mut text = text.replace("nats://nats.nats.svc:4222", &self.server.url());
        for (mount, folder) in [
            ("/etc/nats/", ""),
            ("/run/orders/", ""),
            ("/status/", ""),
            ("/state/", "volume/"),
        ] {
            text = text.replace(mount, &self.dir.join(folder));
        }
        text
    }

    /// The variables of a container, those of its ConfigMap first.
    pub fn env(&self, container: &Value) -> Vec<(String, String)> {
        let config = self.config.as_object().into_iter().flatten();
        let config = config.filter(|_| container["envFrom"][0]["configMapRef"].is_object());
        let config = config.map(|(name, value)| (name.clone(), self.place(value.as_str().unwrap())));
        let variables = container["env"].as_array().unwrap().iter().map(|variable| {
            let value = match variable["value"].as_str() {
                Some(value) => self.place(value),
                None => match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap() {
                    "metadata.name" => self.name.to_owned(),
                    path => {
                        let label = path.strip_prefix("metadata.labels['").unwrap().trim_end_matches("']");
                        self.labels[label].as_str().unwrap_or_default().to_owned()
                    }
                },
            };
            (variable["name"].as_str().unwrap().to_owned(), value)
        });
        config.chain(variables).collect()
    }

    /// The words of a command, with `$(NAME)` replaced as Kubernetes does in those of a container.
    fn words(&self, words: &Value, env: &[(String, String)]) -> Vec<String> {
        let words = words.as_array().unwrap().iter();
        words
            .map(|word| {
                let word = self.place(word.as_str().unwrap());
                env.iter()
                    .fold(word, |word, (name, value)| word.replace(&format!("$({name})"), value))
            })
            .collect()
    }

    /// Runs a probe of a container as the kubelet does.
    #[track_caller]
    pub fn probe(&self, container: &Value, kind: &str, code: i32, text: &str) {
        let command = self.words(&container[format!("{kind}Probe")]["exec"]["command"], &[]);
        assert_eq!(command[0], "/check_nats_service");
        let ask = || {
            let env = self.env(container).into_iter();
            env.fold(Check::new(&command[1..]), |check, (name, value)| check.env(name, value))
                .run()
        };
        // As the kubelet asks more than once before it does anything: the machine may be busy.
        let is_right = |out: &Output| out.code == Some(code) && matches(text, out.stdout.trim_end());
        let out = (1..10).map(|_| ask()).find(is_right).unwrap_or_else(ask);
        out.assert(code, text);
    }

    #[track_caller]
    pub fn probes(&self, container: &Value, code: i32, text: &str) {
        let answer = if code == 0 { "pass" } else { "fail" };
        for kind in PROBES {
            self.probe(container, kind, code, &format!("{kind} {answer}: orders: {text}"));
        }
    }

    /// Starts the sidecar of a container, with another port where it listens.
    pub fn sidecar(&self, container: &Value, port: Option<u16>) -> PodSidecar {
        assert!(container["image"].as_str().unwrap().contains("/check_nats_service:"));
        let env = self.env(container);
        let mut args = self.words(&container["args"], &env);
        if let Some(port) = port {
            let at = args.iter().position(|arg| arg == "--listen").unwrap() + 1;
            assert_eq!(args[at], ":9422");
            args[at] = format!(":{port}");
        }
        let mut command = process::command(BINARY);
        command
            .args(args)
            .env_clear()
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        PodSidecar(process::spawn(command))
    }
}

/// A sidecar that runs as a manifest says. Ended on drop.
pub struct PodSidecar(Child);

impl PodSidecar {
    #[track_caller]
    pub fn check_at_once(&self) {
        process::signal(self.0.id(), libc::SIGHUP);
    }
}

impl Drop for PodSidecar {
    fn drop(&mut self) {
        process::kill(&mut self.0);
    }
}

/// An instance in a pod of this name, with the credentials beside those of the probes.
pub fn instance(server: &Server, dir: &TempDir, pod: &str) -> Service {
    Service::async_nats(&server.url(), "orders")
        .creds(&dir.join("nats.creds"))
        .metadata("pod", pod)
        .start()
}

/// A server that wants credentials and logs each connection, a folder for the Secret, and the credentials.
pub fn locked() -> (Server, TempDir, String) {
    let operator = Operator::new();
    let account = Account::new("APP");
    let config = format!("debug: true\n{}", operator.config(&[&account]));
    let server = Server::with_config(Version::Newest, &config);
    (server, TempDir::new(), account.creds(&User::new("mon")))
}
