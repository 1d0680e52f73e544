//! The privileges on the host: what packages do as root gives no user more rights than before, tried with real attacks by another
//! user.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{Check, Output, TempDir, is_root};

/// Runs a script as root on a host with users `nagios` (112), `check-nats-service` (990) and `mallory` (4321), who runs what
/// `as_mallory` is given, and with an empty /var/lib. `/var/lib/victim` is root's.
fn on_a_host(script: &str) -> Output {
    let dir = TempDir::new();
    let prelude = r#"
        set -eu
        umask 022
        for file in passwd group; do cp /etc/$file "$1/$file"; done
        sed -i '/^nagios:\|^check-nats-service:\|^mallory:\|:112:\|:990:\|:4321:/d' "$1/passwd" "$1/group"
        for user in nagios:x:112 check-nats-service:x:990 mallory:x:4321; do
            echo "$user:${user##*:}::/nonexistent:/usr/sbin/nologin" >>"$1/passwd"
            echo "$user:" >>"$1/group"
        done
        for file in passwd group; do mount --bind "$1/$file" /etc/$file; done
        mount -t tmpfs -o mode=755 tmpfs /var/lib
        mkdir /var/lib/victim
        echo root >/var/lib/victim/file
        as_mallory() { setpriv --reuid 4321 --regid 4321 --clear-groups "$@"; }
        # As versions before had it.
        everybodys() { mkdir -p /var/lib/check_nats_service && chmod 1777 /var/lib/check_nats_service; }
        list() { (cd "$1" && stat -c '%n %U:%G %a %F' -- * | sed 's/refused\.[^ ]*/refused/'); }
        cd "$2"
    "#;
    let root = env!("CARGO_MANIFEST_DIR");
    let script = format!("{prelude}\n{script}");
    Check::program("unshare", ["-m", "bash", "-c", &script, "bash", &dir.join(""), root])
        .limit(Duration::from_secs(120))
        .run()
}

#[test]
#[ignore = "needs root and mount"]
fn each_user_gets_a_state_folder_below_one_of_root() {
    if !is_root() {
        return;
    }
    on_a_host("packaging/make-state-folders; packaging/make-state-folders; stat -c '%U %a' /var/lib/check_nats_service; list /var/lib/check_nats_service")
        .assert(0, "root 755\n0 root:root 700 directory\n112 nagios:nagios 700 directory");
    on_a_host("packaging/make-state-folders mallory; list /var/lib/check_nats_service")
        .assert(0, "4321 mallory:mallory 700 directory");
    on_a_host("packaging/make-state-folders nagios nobody-at-all").assert_stderr(
        1,
        "",
        "make-state-folders: there is no user nobody-at-all",
    );
}

#[test]
#[ignore = "needs root and mount"]
fn an_upgrade_follows_no_planted_link_and_takes_no_folder_of_another_user() {
    if !is_root() {
        return;
    }
    let planted = [
        "ln -s /var/lib/victim /var/lib/check_nats_service/112",
        "ln -s /nowhere /var/lib/check_nats_service/112",
        "mkdir -m 777 /var/lib/check_nats_service/112",
        "mkfifo /var/lib/check_nats_service/112",
        "touch /var/lib/check_nats_service/112",
    ];
    for plant in planted {
        let out = on_a_host(&format!(
            "everybodys; as_mallory {plant}; packaging/make-state-folders 2>&1 | sed 's/refused\\..*/refused/'
             list /var/lib/check_nats_service; stat -c '%U %a' /var/lib/victim"
        ));
        out.assert(
            0,
            "make-state-folders: /var/lib/check_nats_service/112 was not made by its user: moved to /var/lib/check_nats_service/refused\n\
             0 root:root 700 directory\n112 nagios:nagios 700 directory\nrefused root:root 700 directory\nroot 755",
        );
    }
    // systemd would hand a folder of this name to the user of the unit, with a history that mallory wrote.
    let forged = on_a_host(
        "everybodys; as_mallory mkdir /var/lib/check_nats_service/textfile
         as_mallory touch /var/lib/check_nats_service/textfile/orders.json
         packaging/make-state-folders 2>/dev/null; list /var/lib/check_nats_service",
    );
    forged.assert(
        0,
        "0 root:root 700 directory\n112 nagios:nagios 700 directory\nrefused root:root 700 directory",
    );
}

#[test]
#[ignore = "needs root and mount"]
fn an_upgrade_keeps_the_state_that_each_user_has() {
    if !is_root() {
        return;
    }
    let out = on_a_host(
        "everybodys; cd /var/lib/check_nats_service
         for uid in 112 4321; do
             setpriv --reuid $uid --regid $uid --clear-groups sh -c \"mkdir -m 700 $uid && echo outage >$uid/orders.json\"
         done
         mkdir -m 700 textfile; chown 990:990 textfile; ln -s /srv/state 0
         \"$OLDPWD\"/packaging/make-state-folders
         list .; cat 112/orders.json 4321/orders.json",
    );
    out.assert(
        0,
        "0 root:root 777 symbolic link\n112 nagios:nagios 700 directory\n4321 mallory:mallory 700 directory\n\
         textfile check-nats-service:check-nats-service 700 directory\noutage\noutage",
    );
}

/// A user who changes the entries all the time, while root upgrades again and again.
#[test]
#[ignore = "needs root and mount"]
fn no_race_gives_a_folder_of_root_away() {
    if !is_root() {
        return;
    }
    let out = on_a_host(
        "everybodys
         setpriv --reuid 4321 --regid 4321 --clear-groups --pdeathsig KILL bash -c '
             cd /var/lib/check_nats_service
             while :; do
                 ln -s /var/lib/victim 112; rm -f 112
                 ln -s /var/lib/victim 0; ln -s /var/lib/victim textfile; mkdir 112; rmdir 112; rm -f 0 textfile
             done' 2>/dev/null &
         attacker=$!
         trap 'kill $attacker' EXIT
         for try in $(seq 30); do
             rm -rf /var/lib/check_nats_service/* || true
             chmod 1777 /var/lib/check_nats_service
             packaging/make-state-folders 2>/dev/null
             [ \"$(stat -c %U:%a /var/lib/check_nats_service/112)\" = nagios:700 ]
         done
         stat -c '%n %U %a' /var/lib/victim /var/lib/victim/file",
    );
    out.assert(0, "/var/lib/victim root 755\n/var/lib/victim/file root 644");
}

#[test]
#[ignore = "needs root and mount"]
fn the_user_of_the_unit_can_write_its_metrics_and_replace_no_folder() {
    if !is_root() {
        return;
    }
    let out = on_a_host(
        "systemd-tmpfiles --create \"$PWD/packaging/systemd/check-nats-service.tmpfiles.conf\"
         list /var/lib; list /var/lib/prometheus-nats
         as_unit() { setpriv --reuid 990 --regid 990 --clear-groups \"$@\" 2>/dev/null; }
         as_unit touch /var/lib/prometheus-nats/node-exporter/nats-service-orders.prom
         ! as_unit mv /var/lib/prometheus-nats/node-exporter /var/lib/prometheus-nats/other
         ! as_unit rmdir /var/lib/check_nats_service
         ! as_mallory touch /var/lib/prometheus-nats/node-exporter/x 2>/dev/null
         ! as_mallory mkdir /var/lib/check_nats_service/112 2>/dev/null",
    );
    out.assert(
        0,
        "check_nats_service root:root 755 directory\nprometheus-nats root:root 755 directory\nvictim root:root 755 directory\n\
         node-exporter check-nats-service:check-nats-service 755 directory",
    );
    let sysusers = "packaging/systemd/check-nats-service.sysusers.conf";
    let out = on_a_host(&format!(
        "mkdir -p /var/lib/host/etc; systemd-sysusers --root=/var/lib/host $PWD/{sysusers} 2>/dev/null
         grep '^check-nats-service:.*nologin$' /var/lib/host/etc/passwd | cut -d: -f1,6,7"
    ));
    out.assert(0, "check-nats-service:/:/usr/sbin/nologin");
}

/// Removal leaves no unit enabled whose file is gone; purge leaves nothing, and no file of a user who may be gone.
#[test]
#[ignore = "needs root, mount and systemd"]
fn removal_disables_the_units_and_purge_leaves_nothing() {
    if !is_root() {
        return;
    }
    for (upgrade, removal) in [
        ("debian/prerm upgrade 0.2.0", "debian/prerm remove"),
        ("rpm/pre_uninstall 1", "rpm/pre_uninstall 0"),
    ] {
        let out = on_a_host(&format!(
            "mount -t tmpfs tmpfs /etc/systemd/system; mount -t tmpfs tmpfs /etc/default
             cp packaging/systemd/*.service packaging/systemd/*.timer /etc/systemd/system/
             systemctl enable -q check-nats-service@orders.timer check-nats-services.timer
             enabled() {{ find /etc/systemd/system -type l -printf '%f\n' | sort | tr '\n' ' '; echo; }}
             sh packaging/{upgrade}; enabled
             sh packaging/{removal} 2>/dev/null; enabled
             mkdir -p /var/lib/check_nats_service/112 /var/lib/prometheus-nats/node-exporter
             touch /var/lib/prometheus-nats/node-exporter/nats-service-orders.prom
             ln -s /var/lib/victim /var/lib/check_nats_service/112/link
             chown -R nagios /var/lib/check_nats_service/112; chown -R check-nats-service /var/lib/prometheus-nats/node-exporter
             touch /etc/default/check-nats-service /etc/default/check-nats-service-orders /etc/default/other
             sh packaging/debian/postrm remove; ls /var/lib
             sh packaging/debian/postrm purge; ls /var/lib /var/lib/victim /etc/default"
        ));
        out.assert(
            0,
            "check-nats-service@orders.timer check-nats-services.timer \n\n\
             check_nats_service\nprometheus-nats\nvictim\n\
             /etc/default:\nother\n\n/var/lib:\nvictim\n\n/var/lib/victim:\nfile",
        );
    }
}

/// Commands that run as root name no path below a folder that the user prometheus owns, and give nothing away by path except in
/// make-state-folders, which the tests above attack.
#[test]
fn root_does_nothing_below_a_folder_of_another_user() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let scripts = [
        "debian/postinst",
        "debian/postrm",
        "debian/prerm",
        "rpm/post_install",
        "rpm/post_uninstall",
        "rpm/pre_uninstall",
    ];
    let systemd = fs::read_dir(root.join("systemd")).expect("the units");
    let systemd = systemd
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file());
    let units: Vec<_> = systemd.collect();
    assert_eq!(units.len(), 8, "{units:?}");
    for path in scripts.iter().map(|script| root.join(script)).chain(units) {
        let text = fs::read_to_string(&path).expect("a text");
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let is_privileged = line.starts_with("Exec") && line.contains(['+', '!']);
            let gives_away = ["chown", "chgrp", "chmod", "install ", "1777", "ExecStartPre"];
            assert!(!is_privileged, "{}: {line}", path.display());
            assert!(!line.contains("/var/lib/prometheus/"), "{}: {line}", path.display());
            assert!(
                !gives_away.iter().any(|word| line.contains(word)),
                "{}: {line}",
                path.display()
            );
        }
    }
    for unit in [
        "check-nats-service@",
        "check-nats-services",
        "check-nats-service-watch@",
        "check-nats-services-watch",
    ] {
        let unit = fs::read_to_string(root.join(format!("systemd/{unit}.service"))).expect("the unit");
        assert!(unit.contains("\nUser=check-nats-service\n"), "{unit}");
    }
}
