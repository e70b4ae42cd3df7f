//! An actor process for durable messages: `durable_process <redis url> <visibility in ms>
//! [instance=<name>] [<deliveries> <urn>…]` waits for its turn and opens a shop, and one at each of the other URNs, until
//! SIGTERM. It prints `ready`, and each message that a shop handles.

use std::error::Error;
use std::time::Duration;

use conclib::bus::acquire_lease;
use conclib::{ActorSystem, Config};
use conclib_tests::Log;
use conclib_tests::durable::open_shop;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let (mut instance, mut others) = (String::new(), Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("instance=") {
            Some(name) => name.clone_into(&mut instance),
            None => others.push(argument),
        }
    }
    let mut arguments = others.into_iter();
    let url = arguments
        .next()
        .ok_or("usage: durable_process <url> <ms>")?;
    let visibility = arguments.next().ok_or("no visibility time")?.parse()?;
    let deliveries = arguments.next().unwrap_or("5".to_owned()).parse()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let config = Config::new(&url)?.visibility_timeout(Duration::from_millis(visibility));
    let mut config = config.max_deliveries(deliveries);
    if !instance.is_empty() {
        config = config.instance(instance);
    }
    let system = ActorSystem::new();
    let log = Log::default();
    let mut shops = Vec::new();
    for urn in ["shop".to_owned()].into_iter().chain(arguments) {
        shops.push(open_shop(&system, &urn, &log).await);
    }
    let _proxy = acquire_lease(&system, &config).await?.serve().await?;
    println!("ready");
    let mut said = 0;
    loop {
        let look = tokio::time::sleep(Duration::from_millis(2));
        tokio::select! {
            _ = terminate.recv() => break,
            () = look => {}
        }
        for entry in log.entries().iter().skip(said) {
            println!("shop {entry}");
            said += 1;
        }
    }
    let report = system.shutdown().await;
    println!("stopped {report:?}");
    Ok(())
}
