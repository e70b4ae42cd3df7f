//! An actor process: `actor_process <redis url>` serves the test actors until SIGTERM. It
//! prints `ready`, and in the end `stopped <reason> passed <messages that its gate received>`.

use std::error::Error;

use conclib::{ActorSystem, Config, start_proxy};
use conclib_tests::actors::{GatedActor, Raw, ReplyHolder, Worker};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args()
        .nth(1)
        .ok_or("usage: actor_process <url>")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await?;
    system.spawn(ReplyHolder::default()).await?;
    system.spawn(Raw).await?;
    let (gate, control) = GatedActor::closed();
    system.spawn(gate).await?;
    let proxy = start_proxy(&system, &Config::new(&url)?).await?;
    println!("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = proxy.stopped() => {}
    }
    let report = system.shutdown().await;
    let end = proxy.stopped().await;
    println!("stopped {end:?} passed {}", control.entered());
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!("{report:?}").into())
    }
}
