//! A service whose desk may fail for good: `desk_process <redis url> <end|serve>` ends with it,
//! or continues with the other actors. It prints `ready`, `failed <urn>`, and in the end `stopped`.

use std::error::Error;
use std::future::ready;

use conclib::supervision::Backoff;
use conclib::{ActorSystem, Config, start_proxy};
use conclib_tests::actors::Worker;
use conclib_tests::desk::Desk;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, then] = &arguments[..] else {
        return Err("usage: desk_process <redis url> <end|serve>".into());
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let system = ActorSystem::new();
    system.spawn(Worker::default()).await?;
    let desk = system.supervise(|| ready(Desk)).backoff(Backoff::none());
    desk.escalate().await?;
    start_proxy(&system, &Config::new(url)?).await?;
    println!("ready");
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            failure = system.failed() => {
                println!("failed {}", failure.urn);
                if then == "end" {
                    break Err(failure);
                }
            }
        }
    };
    system.shutdown().await;
    println!("stopped");
    Ok(ended?)
}
