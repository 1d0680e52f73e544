//! Credentials files, their JWTs, and the seeds of NKeys.

use check_nats_service::connect::credentials::{Credentials, Nkey};

use data_encoding::BASE64URL_NOPAD;

use super::{Target, assert_clean, text};

/// A user that was made for this, and is used nowhere.
const SEED: &str = "SUAFOXVNOZDVRIKZZRNF2ZOVY5ZOHZI4ANSZMFQNEYUKZ3C6ZS2KWY25WY";

pub const TARGET: Target = Target {
    name: "creds",
    run,
    seeds: &[
        SEED,
        "# a comment\n SUAFOXVNOZDVRIKZZRNF2ZOVY5ZOHZI4ANSZMFQNEYUKZ3C6ZS2KWY25WY \r\n",
        "-----BEGIN NATS USER JWT-----\ne30.eyJzdWIiOiJVIn0.c2ln\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\nSUAFOXVNOZDVRIKZZRNF2ZOVY5ZOHZI4ANSZMFQNEYUKZ3C6ZS2KWY25WY\n------END USER NKEY SEED------\n",
        // Claims alone: a whole file is made of them, of the user of the seed where they say so.
        r#"{"sub":"PUBLIC","name":"mon","exp":1700000000,"nbf":0}"#,
        r#"{"sub":"PUBLIC","name":"a|b\nc","exp":1e300,"nbf":-0.5}"#,
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
    let file;
    let text = match text.starts_with('{') {
        true => {
            file = of_claims(text);
            &file
        }
        false => text,
    };
    // The messages are fixed ones: they show nothing of the file.
    match Credentials::parse(text) {
        Ok(credentials) => {
            assert_clean(&credentials.claims.name, 64);
            assert_eq!(credentials.claims.subject, credentials.nkey.public());
            let shown = format!("{credentials:?}");
            assert!(!shown.contains(credentials.jwt.reveal()), "{shown}");
            let elsewhere = credentials.claims.name.contains("SUA");
            assert!(elsewhere || !shown.contains("SUA"), "{shown}");
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

fn of_claims(claims: &str) -> String {
    let public = Nkey::parse(SEED).expect("a good seed").public();
    let claims = BASE64URL_NOPAD.encode(claims.replace("PUBLIC", &public).as_bytes());
    format!("-----BEGIN NATS USER JWT-----\ne30.{claims}.c2ln\n---\n-----BEGIN USER NKEY SEED-----\n{SEED}\n---\n")
}
