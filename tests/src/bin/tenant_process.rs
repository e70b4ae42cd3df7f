//! An actor process: `tenant_process <redis url> <node> [<other node>]` serves `back`, or `front`, which
//! asks the `back` of the other node, until SIGTERM. It prints `ready`.

use std::error::Error;

use conclib::{ActorSystem, Config, ProxyClient, start_proxy};
use conclib_tests::Log;
use conclib_tests::tenants::{Back, Front};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, node, rest @ ..] = &arguments[..] else {
        return Err("usage: tenant_process <url> <node> [<other node>]".into());
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let config = Config::new(url)?;
    let system = ActorSystem::new();
    if let [other] = rest {
        let other = ProxyClient::connect(&config.clone().node(other)).await?;
        let inherits = true;
        system.spawn(Front { other, inherits }).await?;
    } else {
        system.spawn(Back(Log::default())).await?;
    }
    start_proxy(&system, &config.node(node)).await?;
    println!("ready");
    terminate.recv().await;
    system.shutdown().await;
    Ok(())
}
