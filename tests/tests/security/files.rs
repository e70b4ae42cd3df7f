//! User names and passwords in files.

use conclib::prelude::*;
use conclib_tests::actors::Worker;
use conclib_tests::messages::Double;
use conclib_tests::{ASK_TIMEOUT, eventually};

use crate::certificates::Directory;
use crate::raw::User;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_password_is_read_again() {
    let directory = Directory::new();
    let user = directory.file("user", "keeper\n");
    let password = directory.file("password", "first\n");
    let config = Config::new("redis://127.0.0.1:0")
        .unwrap()
        .timeout(ASK_TIMEOUT);
    let config = config.user_file(&user).password_file(&password);
    // The Redis takes them from the files as well.
    let redis = start_redis(&config).await.unwrap();
    let config = redis.config();
    let system = ActorSystem::new();
    start_proxy(&system, config).await.unwrap();
    system.spawn(Worker::default()).await.unwrap();
    let client = ProxyClient::connect(config).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));

    let by = |password| User {
        port: config.port().unwrap(),
        name: "keeper",
        password,
    };
    let change = "ACL SETUSER keeper resetpass >second";
    assert_eq!(by("first").says(change).await, "+OK");
    directory.file("password", "second\n");
    for kind in ["normal", "pubsub"] {
        let kill = format!("CLIENT KILL TYPE {kind}");
        assert_ne!(by("second").says(&kill).await, ":0");
        eventually("it is let in with the new one", async || {
            client.ask("worker", Double { n: 4 }).await == Ok(8)
        })
        .await;
    }
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test]
async fn missing_password_file_is_an_error() {
    let directory = Directory::new();
    let redis = start_redis(&Config::new("redis://127.0.0.1:0").unwrap())
        .await
        .unwrap();
    let missing = directory.file("x", "").with_file_name("missing");
    let config = redis.config().clone().password_file(&missing);
    let error = ProxyClient::connect(&config).await.unwrap_err().to_string();
    let why = format!(
        "the password file `{}` cannot be read: No such file",
        missing.display()
    );
    assert!(error.contains(&why), "{error}");
}
