//! Credentials files, their JWTs, and the seeds of NKeys.

use check_nats_service::probe::credentials::{Credentials, Nkey};

use super::{Target, assert_clean, text};

/// A user that was made for this, and is used nowhere.
const SEED: &str = "SUABHV5D5M4HW66CUDBIYUKLPOI2QGKLIMMKEDJMYYOQPKUOACSEZ6DZPY";

pub const TARGET: Target = Target {
    name: "creds",
    run,
    seeds: &[
        SEED,
        "# a comment\n SUABHV5D5M4HW66CUDBIYUKLPOI2QGKLIMMKEDJMYYOQPKUOACSEZ6DZPY \r\n",
        "-----BEGIN NATS USER JWT-----\ne30.eyJzdWIiOiJVIn0.c2ln\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\nSUABHV5D5M4HW66CUDBIYUKLPOI2QGKLIMMKEDJMYYOQPKUOACSEZ6DZPY\n------END USER NKEY SEED------\n",
    ],
    samples: None,
    words: &[
        "-----BEGIN NATS USER JWT-----\n",
        "-----BEGIN USER NKEY SEED-----\n",
        "------END",
        "JWT",
        "SEED",
        "---",
        "SU",
        ".",
        "e30",
        "\r\n",
        SEED,
    ],
};

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    // The messages are fixed ones: they show nothing of the file.
    match Credentials::parse(text) {
        Ok(credentials) => {
            assert_clean(&credentials.claims.name, 64);
            assert_eq!(credentials.claims.subject, credentials.nkey.public());
            let shown = format!("{credentials:?}");
            assert!(!shown.contains(credentials.jwt.reveal()), "{shown}");
            assert!(!shown.contains("SUA"), "{shown}");
            assert!(text.contains(credentials.jwt.reveal()));
        }
        Err(why) => assert!(why.is_ascii() && why.len() < 100 && !why.contains(SEED), "{why}"),
    }
    match Nkey::parse(text) {
        Ok(nkey) => {
            let public = nkey.public();
            assert!(
                public.len() == 56 && public.starts_with('U') && public.bytes().all(|b| b.is_ascii_alphanumeric()),
                "{public}"
            );
            assert_eq!(nkey.sign(b"nonce").len(), 64);
            assert_eq!(format!("{nkey:?}"), format!("Nkey({public})"));
        }
        Err(why) => assert!(why.is_ascii() && why.len() < 100, "{why}"),
    }
}
