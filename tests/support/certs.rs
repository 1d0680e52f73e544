//! Certificates made by the test: good ones, and one for each way in which one can be wrong.

use std::fs;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::TempDir;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A folder with certificates and keys in PEM form.
pub struct Certs {
    dir: TempDir,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

impl Certs {
    /// - `ca.pem` has signed all the others, `other-ca.pem` none of them but `stranger`;
    /// - for servers: `server` is for localhost and 127.0.0.1, `other-name` for nats.example.org, `expired` and `future`
    ///   are for localhost and 127.0.0.1 again, at another time;
    /// - for clients: `client` is that of `CN=mon`, `client-expired` was; `stranger` is of another authority;
    /// - `damaged` is not even a certificate.
    ///
    /// Each has its certificate in `NAME.pem` and its key in `NAME.key`.
    pub fn new() -> Certs {
        let certs = Certs { dir: TempDir::new() };
        let (ca, other_ca) = (authority("Test CA"), authority("Another CA"));
        certs.write("ca.pem", &ca.pem());
        certs.write("other-ca.pem", &other_ca.pem());

        let now = OffsetDateTime::now_utc();
        let here = ["localhost", "127.0.0.1"];
        let (past, future) = (now - DAY, now + DAY);
        certs.issue("server", &ca, server(&here), past, future);
        certs.issue("other-name", &ca, server(&["nats.example.org"]), past, future);
        certs.issue("expired", &ca, server(&here), past - DAY, past);
        certs.issue("future", &ca, server(&here), future, future + DAY);
        certs.issue("client", &ca, client("mon"), past, future);
        certs.issue("client-expired", &ca, client("mon"), past - DAY, past);
        for (file, what) in [("damaged.pem", "CERTIFICATE"), ("damaged.key", "PRIVATE KEY")] {
            certs.write(file, &format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n"));
        }
        certs.issue("stranger", &other_ca, client("mon"), past, future);
        certs
    }

    /// The path of one of the files.
    #[track_caller]
    pub fn path(&self, file: &str) -> String {
        let path = self.dir.join(file);
        assert!(fs::exists(&path).unwrap(), "no {file}");
        path
    }

    /// The `tls` block of a server's configuration, with `more` in it.
    pub fn config(&self, name: &str, more: &str) -> String {
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let ca = self.path("ca.pem");
        format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\"\n{more} }}\n")
    }

    fn issue(
        &self,
        name: &str,
        authority: &Authority,
        params: CertificateParams,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) {
        let mut params = params;
        (params.not_before, params.not_after) = (from, until);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.join(file), text).unwrap();
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn server(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}
