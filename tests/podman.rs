//! The manifests in a real container runtime: `podman play kube`, and `podman healthcheck run` in the place of the kubelet.
//!
//! The manifests are changed for what podman 4.3 (Debian 12) cannot do. It starts one replica, waits for a native sidecar to end, expands no variables in
//! arguments, maps no ports in the network of the host (which is a namespace of the test here), and mounts Secrets wrongly: none that is
//! `optional`, and others without decoding them. A folder stands in the place of the Secret.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::support::image::Image;
use super::support::jwt::{Account, Operator, User};
use super::support::manifest::{containers, documents, quick_start, render};
use super::support::{
    Certs, Check, LIMIT, Metrics, Namespace, Output, Server, TempDir, Version, from_env, is_root, process, wait_for,
};

/// Podman with storage of its own, in a network and with mounts of its own.
struct Podman {
    image: Image,
    dir: TempDir,
    /// Holds the mounts.
    holder: Child,
    /// In which NATS listens, too.
    network: Namespace,
}

impl Podman {
    fn new() -> Podman {
        let certs = Certs::new();
        let (image, dir, network) = (
            Image::build(&certs.path("ca.pem")),
            TempDir::new(),
            Namespace::with_addresses(1),
        );
        fs::write(dir.join("hosts"), "127.0.0.1 localhost nats.nats.svc\n").unwrap();
        // By default podman raises the limit of open files, which not everybody may, and asks systemd for cgroups and timers.
        let conf = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                    [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        fs::write(dir.join("containers.conf"), conf).unwrap();
        // crun takes no cgroups of both versions at once, as some hosts have them.
        let script =
            "umount /sys/fs/cgroup/unified 2>/dev/null || :; mount --bind \"$0\" /etc/hosts; exec sleep infinity";
        let words = network.run_in();
        let mut command = process::command(&words[0]);
        command
            .args(&words[1..])
            .args(["unshare", "-m", "sh", "-ec", script, &dir.join("hosts")])
            .stdin(Stdio::null());
        let mut holder = process::spawn(command);
        wait_for("the mounts are there", || {
            assert!(holder.try_wait().unwrap().is_none(), "the mounts could not be made");
            let name = fs::read_to_string(format!("/proc/{}/comm", holder.id())).ok()?;
            (name.trim() == "sleep").then_some(())
        });
        Podman {
            image,
            dir,
            holder,
            network,
        }
    }

    /// An image of the application: the service in Go, the probe, and the shell and curl by which podman runs health checks.
    fn build_application(&self) {
        let root = self.dir.join("root");
        fs::create_dir_all(format!("{root}/bin")).unwrap();
        fs::copy(from_env("BUSYBOX"), format!("{root}/bin/busybox")).unwrap();
        symlink("busybox", format!("{root}/bin/sh")).unwrap();
        let curl = format!("{root}/bin/curl");
        fs::write(
            &curl,
            "#!/bin/sh\n# curl -f URL\nexec /bin/busybox wget -q -O - \"$2\"\n",
        )
        .unwrap();
        fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(format!("{}/orders", from_env("NATS_GO_1_41")), format!("{root}/orders")).unwrap();
        let file = "FROM scratch\nCOPY root /\nCOPY --from=localhost/probe /check_nats_service /check_nats_service\nENTRYPOINT [\"/orders\"]\n";
        fs::write(self.dir.join("Containerfile"), file).unwrap();
        let tag = "registry.example.org/orders:1.0.0";
        self.image
            .buildah(&["build", "--isolation", "chroot", "-q", "-t", tag, &self.dir.join("")]);
        self.image.buildah(&[
            "tag",
            "localhost/probe",
            "registry.example.org/check_nats_service:0.1.0",
        ]);
    }

    fn try_to(&self, args: &[&str]) -> Output {
        let (root, run) = (self.image.dir.join("storage"), self.image.dir.join("run"));
        let holder = self.holder.id().to_string();
        Check::program("nsenter", ["-m", "-n", "-t", &holder, &from_env("PODMAN")])
            .args(["--storage-driver", "vfs", "--root", &root, "--runroot", &run])
            .args(args)
            // Podman takes a folder with the name of an image for its source.
            .cwd("/")
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("DISABLE_HC_SYSTEMD", "true")
            .limit(std::time::Duration::from_secs(120))
            .run()
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        let out = self.try_to(args);
        assert_eq!(out.code, Some(0), "{args:?}: {out:?}");
        out.stdout.trim().to_owned()
    }

    /// Starts what is in a manifest, and looks at the rights of its containers. Deployments are not restarted by podman.
    #[track_caller]
    fn play(&self, documents: &[Value], url: &str) {
        let file = self.dir.join("manifest.yaml");
        let documents: Vec<String> = documents
            .iter()
            .map(|document| for_podman(document, url, &self.dir.join("secret")))
            .collect();
        fs::write(&file, documents.join("\n---\n")).unwrap();
        self.run(&["play", "kube", "--network", "host", &file]);
    }

    fn containers(&self) -> Vec<String> {
        let names = self.run(&["ps", "--all", "--format", "{{.Names}}"]);
        let names = names.lines().filter(|name| !name.ends_with("-infra"));
        names.map(str::to_owned).collect()
    }

    /// Waits until a health check of a container passes, or fails.
    #[track_caller]
    fn healthcheck(&self, container: &str, passes: bool) {
        let mut last = String::new();
        let found = try_for(|| {
            let out = self.try_to(&["healthcheck", "run", container]);
            last = format!("{out:?}");
            (out.code == Some(0)) == passes
        });
        let logs = || {
            self.containers()
                .iter()
                .map(|it| self.run(&["logs", it]))
                .collect::<Vec<_>>()
        };
        assert!(found, "{container}, passes: {passes}: {last}\n{:?}", logs());
    }

    fn down(&self) {
        self.run(&["pod", "rm", "--force", "--all", "--time", "0"]);
    }

    /// A page of a pod: all of them are in one network.
    fn get(&self, path: &str) -> Option<String> {
        let words = self.network.run_in();
        let url = format!("http://127.0.0.1:9422{path}");
        let out = Check::program(&words[0], &words[1..])
            .args([&from_env("BUSYBOX"), "wget", "-q", "-O", "-", &url])
            .run();
        (out.code == Some(0)).then_some(out.stdout)
    }
}

/// Tries again and again, for as long as anything may take on a busy machine.
fn try_for(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if condition() {
            return true;
        }
    }
    false
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.try_to(&["pod", "rm", "--force", "--all", "--time", "0"]);
        process::kill(&mut self.holder);
    }
}

/// A document of a manifest as podman 4.3 takes it.
fn for_podman(document: &Value, url: &str, secret: &str) -> String {
    let mut document = document.clone();
    if let Some(spec) = document.pointer_mut("/spec/template/spec") {
        let mut containers = spec["initContainers"].as_array().cloned().unwrap_or_default();
        containers.extend(spec["containers"].as_array().unwrap().iter().cloned());
        for container in &mut containers {
            let container = container.as_object_mut().unwrap();
            container.remove("restartPolicy");
            container.remove("ports");
        }
        spec["containers"] = containers.into();
        spec.as_object_mut().unwrap().remove("initContainers");
        for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
            if volume["secret"].is_object() {
                *volume = json!({"name": volume["name"], "hostPath": {"path": secret}});
            }
        }
        document["spec"]["replicas"] = 1.into();
    }
    let text = document.to_string().replace("$(NATS_SERVICE)", "orders");
    // The quick start puts the registry of its reader in the place of ours.
    let text = text.replace("registry.example.com/", "registry.example.org/");
    text.replace("nats://nats.nats.svc:4222", url)
}

#[test]
#[ignore = "needs podman and the release build"]
fn podman_plays_every_manifest() {
    if !is_root() {
        return;
    }
    let podman = Podman::new();
    podman.build_application();
    let operator = Operator::new();
    let account = Account::new("APP");
    let server = Server::inside(&podman.network, Version::Newest, &operator.config(&[&account]));
    let url = format!("nats://nats.nats.svc:{}", server.port());
    fs::create_dir(podman.dir.join("secret")).unwrap();
    fs::set_permissions(podman.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        podman.dir.join("secret/nats.creds"),
        account.creds(&User::new("orders")),
    )
    .unwrap();

    let open = Server::inside(&podman.network, Version::Newest, "");
    let open_url = format!("nats://nats.nats.svc:{}", open.port());
    for (name, url, documents) in [
        ("the quick start", &open_url, render(&quick_start())),
        ("sidecar.yaml", &url, documents("sidecar.yaml")),
        ("sidecar-http.yaml", &url, documents("sidecar-http.yaml")),
        (
            "sidecar-http-classic.yaml",
            &url,
            documents("sidecar-http-classic.yaml"),
        ),
        ("app-id-file.yaml", &url, documents("app-id-file.yaml")),
        ("app.yaml", &url, documents("app.yaml")),
    ] {
        podman.down();
        podman.play(&documents, url);
        let app = "orders-pod-0-orders";
        podman.healthcheck(app, true);
        // Liveness passes without NATS, too; readiness does not.
        let orders = documents
            .iter()
            .flat_map(containers)
            .find(|it| it["name"] == "orders")
            .unwrap();
        let command = &orders["readinessProbe"]["exec"]["command"];
        wait_for(&format!("{name} is ready"), || match command.as_array() {
            Some(words) => {
                let words = words.iter().map(|word| word.as_str().unwrap());
                let words: Vec<&str> = ["exec", app].into_iter().chain(words).collect();
                (podman.try_to(&words).code == Some(0)).then_some(())
            }
            None => podman.get("/readyz").map(drop),
        });
        let all = podman.containers();
        assert_eq!(
            all.len(),
            documents.iter().flat_map(containers).count(),
            "{name}: {all:?}"
        );
        for container in all.iter().filter(|it| name != "the quick start" || *it != app) {
            let rights =
                "{{.HostConfig.ReadonlyRootfs}} {{.Config.User}} {{.EffectiveCaps}} {{.HostConfig.SecurityOpt}}";
            let rights = podman.run(&["inspect", container, "--format", rights]);
            assert_eq!(rights, "true 65532 [] [no-new-privileges]", "{name}: {container}");
        }
        // A hung application fails, and one that goes on passes again.
        if ["the quick start", "app.yaml"].contains(&name) {
            let check_again = || {
                for sidecar in all.iter().filter(|container| *container != app) {
                    podman.run(&["kill", "--signal", "HUP", sidecar]);
                }
            };
            podman.run(&["kill", "--signal", "STOP", app]);
            check_again();
            podman.healthcheck(app, false);
            podman.run(&["kill", "--signal", "CONT", app]);
            check_again();
            podman.healthcheck(app, true);
        }
    }

    // All pods of the service are gone: the exporter outside of them tells so, and remembers it when it is replaced.
    let exporter = documents("all-services.yaml");
    let outage = |value: f64| {
        wait_for(&format!("an outage: {value}"), || {
            let metrics = Metrics::parse(&podman.get("/metrics")?);
            (metrics.of("orders", "nats_service_outage") == Some(value)).then_some(())
        });
    };
    podman.play(&exporter, &url);
    outage(0.0);
    assert!(podman.get("/healthz").is_some());
    podman.run(&["pod", "rm", "--force", "--time", "0", "orders-pod-0"]);
    podman.run(&["kill", "--signal", "HUP", "nats-services-pod-0-watch"]);
    outage(1.0);
    podman.down();
    // Its volume is there.
    podman.play(&exporter[..1], &url);
    outage(1.0);
}
