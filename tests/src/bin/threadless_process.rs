//! A process that can start no thread (the test sets the size of their stacks): an actor on demand with a
//! thread of its own does not start, and each message says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use conclib::prelude::*;
use conclib::snapshot::Phase;
use conclib::system::LookupError;
use conclib_tests::messages::Ping;

#[derive(Actor)]
#[actor(thread)]
struct Blocking;

#[handlers]
impl Blocking {
    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (system, reports) = (ActorSystem::new(), Arc::new(AtomicUsize::new(0)));
    let counted = reports.clone();
    system.on_failure(move |event| {
        assert_eq!((event.phase, event.is_supervised), (Phase::Starting, false));
        assert_eq!(event.urn, "blocking/1");
        let failure = event.failure.to_string();
        assert!(
            failure.starts_with("its thread could not be started"),
            "{failure}"
        );
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let actors = system.on_demand("blocking/*", |_| async { Blocking });
    let actors = actors.max(1).await?;
    let config = Config::memory();
    let _proxy = start_proxy(&system, &config).await?;
    let client = ProxyClient::connect(&config).await?;
    let failed = Err(AskError::ActorFailed {
        urn: "blocking/1".parse()?,
    });
    for _ in 0..2 {
        assert_eq!(system.ask("blocking/1", Ping).await, failed);
        assert_eq!(client.ask("blocking/1", Ping).await, failed);
        let found = system.actor::<Blocking>("blocking/1");
        assert!(
            matches!(found, Err(LookupError::Failed { .. })),
            "{found:?}"
        );
    }
    assert!(actors.is_empty());
    // The failure is remembered for a second, and then the next start fails.
    assert_eq!(reports.load(Ordering::Relaxed), 1);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(client.ask("blocking/1", Ping).await, failed);
    assert_eq!(reports.load(Ordering::Relaxed), 2);
    println!("as expected");
    Ok(())
}
