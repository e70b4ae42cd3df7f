//! Starts the Redis that its one argument, a URL, describes; says `ready <port>` or `failed`
//! and why; and stays until it is killed.

use conclib::{Config, start_redis};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("usage: redis_owner <url>");
    let config = Config::new(&url).expect("a valid URL");
    match start_redis(&config).await {
        Err(error) => println!("failed: {error}"),
        Ok(redis) => {
            println!(
                "ready {}",
                redis.config().port().expect("a Redis has a port")
            );
            std::future::pending::<()>().await;
        }
    }
}
