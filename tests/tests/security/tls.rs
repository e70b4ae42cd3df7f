//! Redis over TLS.

use std::time::{Duration, Instant};

use conclib::bus::Role;
use conclib::prelude::*;
use conclib_tests::ASK_TIMEOUT;
use conclib_tests::actors::Worker;
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Record, Recorded};

use crate::certificates::{Authority, Directory, TlsRedis};

/// The timeout of connecting, and a margin for a busy machine.
const CONNECT: Duration = Duration::from_secs(5 + 10);

/// Clients show no certificate.
const ONE_SIDED: [&str; 2] = ["--tls-auth-clients", "no"];

/// The error of a connection that is refused.
async fn refusal(config: &Config) -> String {
    let start = Instant::now();
    let system = ActorSystem::new();
    let (served, connected) =
        tokio::join!(start_proxy(&system, config), ProxyClient::connect(config));
    let (served, connected) = (served.unwrap_err(), connected.unwrap_err());
    assert!(start.elapsed() < CONNECT, "{:?}", start.elapsed());
    let text = connected.to_string();
    assert!(
        text.starts_with("cannot reach Redis at 127.0.0.1:"),
        "{text}"
    );
    assert_eq!(served.to_string(), text);
    text
}

/// Asks and tells, over both ends.
async fn works(actors: &Config, web: &Config) {
    let system = ActorSystem::new();
    start_proxy(&system, actors).await.unwrap();
    system.spawn(Worker::default()).await.unwrap();
    let client = ProxyClient::connect(web).await.unwrap();
    for n in 0..100 {
        assert_eq!(client.ask("worker", Double { n }).await, Ok(n * 2));
    }
    client.tell("worker", Record { n: 7 }).await.unwrap();
    assert_eq!(client.ask("worker", Recorded).await, Ok(vec![7]));
    client.shutdown().await;
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_authority_is_accepted() {
    let authority = Authority::new();
    let redis = TlsRedis::start(&authority, &ONE_SIDED);
    let config = redis.config(&authority);
    works(&config, &config).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn untrusted_authority_is_refused() {
    let authority = Authority::new();
    let redis = TlsRedis::start(&authority, &ONE_SIDED);
    // The second authority has the name of the right one, and another key.
    for other in [Authority::named("another"), Authority::new()] {
        let text = refusal(&redis.config(&other)).await;
        assert!(text.contains("not signed by an authority"), "{text}");
        assert!(text.contains("CONCLIB_REDIS_CA"), "{text}");
    }
    // The system does not trust it either.
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let text = refusal(&Config::new(&url).unwrap()).await;
    assert!(text.contains("CONCLIB_REDIS_CA"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_of_another_host_is_refused() {
    let authority = Authority::new();
    let redis = TlsRedis::start(&authority, &ONE_SIDED);
    let url = format!("rediss://localhost:{}", redis.port);
    let config = Config::new(&url).unwrap().ca_file(&authority.certificate);
    let error = ProxyClient::connect(&config).await.unwrap_err().to_string();
    assert!(error.contains("for another host"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_certificates_are_required_if_configured() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let redis = TlsRedis::start(&authority, &["--tls-auth-clients", "yes"]);
    let config = redis.config(&authority);
    let own = authority.sign("web");
    let shown = config
        .clone()
        .client_certificate(&own.certificate, &own.key);
    works(&shown, &shown).await;

    let text = refusal(&config).await;
    assert!(text.contains("CONCLIB_REDIS_CERT"), "{text}");
    let foreign = other.sign("web");
    let text = refusal(
        &config
            .clone()
            .client_certificate(&foreign.certificate, &foreign.key),
    )
    .await;
    assert!(text.contains("does not trust"), "{text}");
    let text = refusal(&config.client_certificate(&own.certificate, &foreign.key)).await;
    assert!(text.contains("do not fit"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_and_tls_ends_do_not_connect() {
    let authority = Authority::new();
    let redis = TlsRedis::start(&authority, &ONE_SIDED);
    let plain = Config::new(&format!("redis://127.0.0.1:{}", redis.port));
    refusal(&plain.unwrap()).await;

    let bus = Bus::redis().await;
    let url = format!("rediss://127.0.0.1:{}", bus.config.port().unwrap());
    let config = Config::new(&url).unwrap().ca_file(&authority.certificate);
    refusal(&config).await;
}

/// As in `docs/security.md`: TLS, and an ACL file with the roles only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_an_acl_file_connect_over_tls() {
    let authority = Authority::new();
    let directory = Directory::new();
    let rules = Config::new("redis://host").unwrap();
    let users = format!(
        "user default off\nuser actors on >lights {}\nuser web on >browser {}\n",
        rules.acl(Role::Proxy),
        rules.acl(Role::Client),
    );
    let users = directory.file("users.acl", &users);
    let users = ["--aclfile", users.to_str().unwrap()];
    let redis = TlsRedis::start(&authority, &[ONE_SIDED, users].concat());
    let config = |who: &str| {
        let url = format!("rediss://{who}@127.0.0.1:{}", redis.port);
        let config = Config::new(&url).unwrap().timeout(ASK_TIMEOUT);
        config.ca_file(&authority.certificate)
    };
    works(&config("actors:lights"), &config("web:browser")).await;
    assert!(
        ProxyClient::connect(&redis.config(&authority))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_certificate_files_are_errors() {
    let authority = Authority::new();
    let redis = TlsRedis::start(&authority, &ONE_SIDED);
    let directory = Directory::new();
    let own = authority.sign("web");
    let config = redis.config(&authority);
    let missing = directory.file("x", "").with_file_name("missing");
    for (config, why) in [
        (
            config.clone().ca_file(&missing),
            "cannot be read: No such file",
        ),
        (config.clone().ca_file(&own.key), "holds no certificate"),
        (
            config
                .clone()
                .ca_file(directory.file("ca", "-----BEGIN CERTIFICATE-----\nsecret")),
            "it is no valid PEM",
        ),
        (
            config
                .clone()
                .client_certificate(&own.certificate, &own.certificate),
            "holds no private key",
        ),
        (
            config.client_certificate(&missing, &own.key),
            "cannot be read: No such file",
        ),
    ] {
        let text = refusal(&config).await;
        assert!(text.contains(why) && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn redis_daemon_has_no_tls() {
    let config = Config::new("rediss://localhost:0").unwrap();
    let error = start_redis(&config).await.unwrap_err().to_string();
    assert!(error.contains("without TLS: write `redis://`"), "{error}");
}
