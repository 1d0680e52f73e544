//! An ADR-32 service with the official Rust client, for the tests: the same arguments and output as `nats_py_service.py`, and
//! `--creds`, `--tlsca`, `--tlscert` and `--tlskey FILE` besides.
//!
//! Prints `ready <id>` for each instance once the server has all of its subscriptions; reconnects for ever; ends on SIGTERM.

use std::collections::HashMap;
use std::error::Error;

use async_nats::ConnectOptions;
use async_nats::service::{Request, ServiceExt};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

/// Answers with an error, after as many milliseconds as it is told, or never.
async fn answer(endpoint: &str, request: Request) {
    let payload = request.message.payload.clone();
    let reply = match endpoint {
        "fail" => Err(async_nats::service::error::Error {
            code: 500,
            status: "no database: kaputt ünï".into(),
        }),
        "slow" => {
            let ms = String::from_utf8_lossy(&payload).parse().unwrap_or(0);
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            Ok("late".into())
        }
        _ => return,
    };
    let _ = request.respond(reply).await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut url, mut names, mut version, mut count) = (None, None, "1.0.0".to_string(), 1);
    let (mut creds, mut tlsca, mut tlscert, mut tlskey) = (None, None, None, None);
    let mut metadata = HashMap::new();
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--url" => url = Some(value),
            "--name" => names = Some(value),
            "--creds" => creds = Some(value),
            "--tlsca" => tlsca = Some(value),
            "--tlscert" => tlscert = Some(value),
            "--tlskey" => tlskey = Some(value),
            "--version" => version = value,
            "--count" => count = value.parse()?,
            "--metadata" => {
                let (key, value) = value.split_once('=').ok_or("--metadata needs K=V")?;
                metadata.insert(key.to_string(), value.to_string());
            }
            _ => return Err(format!("unknown: {flag}").into()),
        }
    }
    let (url, names) = (url.ok_or("--url is needed")?, names.ok_or("--name is needed")?);
    // Several services with commas between them, each with all instances.
    let names = names.split(',').flat_map(|name| std::iter::repeat_n(name, count));

    let login = Url::parse(&url)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut services = Vec::new();
    for name in names {
        // This client takes no user and password from a URL.
        let mut options = match (login.username(), login.password()) {
            ("", _) => ConnectOptions::new(),
            (user, password) => {
                ConnectOptions::with_user_and_password(user.into(), password.unwrap_or_default().into())
            }
        };
        if let Some(creds) = &creds {
            options = options.credentials_file(creds).await?;
        }
        if let Some(tlsca) = &tlsca {
            options = options.add_root_certificates(tlsca.into());
        }
        if let (Some(cert), Some(key)) = (&tlscert, &tlskey) {
            options = options.add_client_certificate(cert.into(), key.into());
        }
        let client = options.connect(&url).await?;
        let service = client
            .service_builder()
            .metadata(metadata.clone())
            .start(name, &version)
            .await?;
        let mut echo = service
            .endpoint_builder()
            .name("echo")
            .add(format!("{name}.echo"))
            .await?;
        tokio::spawn(async move {
            while let Some(request) = echo.next().await {
                let payload = request.message.payload.clone();
                let reply = match payload.as_ref() {
                    b"fail" => Err(async_nats::service::error::Error {
                        status: "asked to fail".into(),
                        code: 500,
                    }),
                    _ => Ok(payload),
                };
                let _ = request.respond(reply).await;
            }
        });
        for endpoint in ["fail", "slow", "never"] {
            let mut requests = service
                .endpoint_builder()
                .name(endpoint)
                .add(format!("{name}.{endpoint}"))
                .await?;
            tokio::spawn(async move {
                while let Some(request) = requests.next().await {
                    tokio::spawn(answer(endpoint, request));
                }
            });
        }
        let id = service.info().await.id;
        // `flush` of this client is no round trip. An answer of our own is: whatever was sent before the request, the server has.
        client.request(format!("$SRV.PING.{name}.{id}"), "".into()).await?;
        services.push(service);
        println!("ready {id}");
    }

    terminate.recv().await;
    Ok(())
}
