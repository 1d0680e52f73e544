//! Certificates made by the test: good ones, and one for each way in which one can be wrong.

use std::fs;
use std::process::Command;
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
        Certs::for_hosts(&[])
    }

    /// The same, and the certificates for 127.0.0.1 are for these names and addresses, too.
    pub fn for_hosts(more: &[&str]) -> Certs {
        let certs = Certs { dir: TempDir::new() };
        let (ca, other_ca) = (authority("Test CA"), authority("Another CA"));
        certs.write("ca.pem", &ca.pem());
        certs.write("other-ca.pem", &other_ca.pem());

        let now = OffsetDateTime::now_utc();
        let here = [&["localhost", "127.0.0.1"], more].concat();
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

    /// Certificates for 127.0.0.1 that the client cannot use, made by openssl: `version-1`, `p521` (its key), `by-p521` (that of its
    /// authority, `p521-ca`), `rsa1024`, and `by-no-authority`, of which the one that signed it is no authority.
    pub fn odd() -> Certs {
        const SCRIPT: &str = r#"
            set -e
            key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:$2 -out $1.key; }
            ca() {
                key $1 $2
                openssl req -x509 -new -key $1.key -subj /CN=$1 -days 2 -out $1.pem -addext basicConstraints=critical,CA:TRUE
            }
            sign() {
                openssl req -new -key $1.key -subj /CN=$1 -out $1.csr
                openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 2 -out $1.pem $3 $4
            }
            echo subjectAltName=IP:127.0.0.1 > here
            echo subjectKeyIdentifier=hash > no-authority
            ca ca P-256
            ca p521-ca P-521
            key version-1 P-256
            sign version-1 ca
            key p521 P-521
            sign p521 ca -extfile here
            key by-p521 P-256
            sign by-p521 p521-ca -extfile here
            openssl genrsa -out rsa1024.key 1024
            sign rsa1024 ca -extfile here
            key middle P-256
            sign middle ca -extfile no-authority
            key by-no-authority P-256
            sign by-no-authority middle -extfile here
            cat middle.pem >> by-no-authority.pem
        "#;
        let certs = Certs { dir: TempDir::new() };
        let made = Command::new("bash")
            .args(["-c", SCRIPT])
            .current_dir(certs.dir.path())
            .output();
        let made = made.expect("bash and openssl are there");
        assert!(made.status.success(), "{made:?}");
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
