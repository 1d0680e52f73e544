//! Operator mode with JWTs made by the test: operators, accounts and users, as `nsc` makes them.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Now, in the seconds since 1970 that JWTs count in.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Signs accounts; its server believes those that it has signed.
pub struct Operator {
    key: KeyPair,
}

/// Signs users, and says of each of them what it may do.
pub struct Account {
    key: KeyPair,
    claims: Value,
}

/// Logs in with a JWT and the key that it is for.
pub struct User {
    key: KeyPair,
    claims: Value,
}

impl Operator {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Operator {
        Operator {
            key: KeyPair::new_operator(),
        }
    }

    /// The configuration of a server of this operator that knows these accounts.
    pub fn config(&self, accounts: &[&Account]) -> String {
        let nats = json!({ "type": "operator", "version": 2 });
        let operator = sign(
            &self.key,
            json!({ "name": "O", "sub": self.key.public_key(), "nats": nats }),
        );
        let preload: String = accounts
            .iter()
            .map(|account| {
                let jwt = sign(&self.key, account.claims.clone());
                format!("  {}: {jwt}\n", account.key.public_key())
            })
            .collect();
        format!("operator: {operator}\nresolver: MEMORY\nresolver_preload {{\n{preload}}}\n")
    }
}

impl Account {
    /// Without any limit.
    pub fn new(name: &str) -> Account {
        let key = KeyPair::new_account();
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        });
        let nats = json!({ "limits": limits, "type": "account", "version": 2 });
        let claims = json!({ "name": name, "sub": key.public_key(), "nats": nats });
        Account { key, claims }
    }

    /// Sets the maximum number of its connections.
    pub fn connections(mut self, most: usize) -> Account {
        self.claims["nats"]["limits"]["conn"] = most.into();
        self
    }

    /// No JWT of this user is good any more.
    pub fn revoke(&mut self, user: &User) {
        self.claims["nats"]["revocations"][user.key.public_key()] = (now() + 1).into();
    }

    /// The credentials file of a user.
    pub fn creds(&self, user: &User) -> String {
        self.creds_signed_by(&self.key, user)
    }

    /// One that says that it is of this account, and is signed by another.
    pub fn forged_creds(&self, forger: &Account, user: &User) -> String {
        self.creds_signed_by(&forger.key, user)
    }

    fn creds_signed_by(&self, key: &KeyPair, user: &User) -> String {
        let mut claims = user.claims.clone();
        claims["iss"] = self.key.public_key().into();
        let jwt = sign(key, claims);
        let seed = user.key.seed().unwrap();
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

impl User {
    /// May do all in its account, from everywhere, for ever.
    pub fn new(name: &str) -> User {
        let key = KeyPair::new_user();
        let nats = json!({ "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
        let claims = json!({ "name": name, "sub": key.public_key(), "nats": nats });
        User { key, claims }
    }

    /// Good until then, in seconds since 1970.
    pub fn expires(mut self, at: i64) -> User {
        self.claims["exp"] = at.into();
        self
    }

    /// Says this of itself, however odd.
    pub fn claims(mut self, name: &str, value: Value) -> User {
        self.claims[name] = value;
        self
    }

    /// Not good before then, in seconds since 1970.
    pub fn not_before(mut self, at: i64) -> User {
        self.claims["nbf"] = at.into();
        self
    }

    /// May come from these networks only, like `10.0.0.0/8`.
    pub fn sources(mut self, networks: &[&str]) -> User {
        self.claims["nats"]["src"] = networks.into();
        self
    }
}

/// The claims as a JWT with this signature, of this issuer unless they say otherwise.
fn sign(issuer: &KeyPair, mut claims: Value) -> String {
    if claims["iss"].is_null() {
        claims["iss"] = issuer.public_key().into();
    }
    // Issued long ago: a revocation is of what was issued before it.
    claims["iat"] = (now() - 3600).into();
    claims["jti"] = claims["sub"].clone();
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}
