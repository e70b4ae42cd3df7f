//! Starts the Redis that its argument, a URL, describes; prints `ready <port>` or `failed: <error>`;
//! and stays until it is killed.

use conclib::Config;
use conclib::daemon::start_redis;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("usage: redis_owner <url>");
    let config = Config::new(&url).expect("a valid URL");
    // As Ctrl-C ends a program: at once, and without drops. The handler makes it work where the
    // signal is ignored from the start, as in the background of a shell.
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be handled");
    match start_redis(&config).await {
        Err(error) => println!("failed: {error}"),
        Ok(redis) => {
            println!(
                "ready {}",
                redis.config().port().expect("a Redis has a port")
            );
            interrupt.recv().await;
            std::process::exit(130);
        }
    }
}
