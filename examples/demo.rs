//! The whole picture with one command: starts a Redis, actors in this process, the `web` example
//! as another process, sends it HTTP requests, and cleans up.

use std::time::Duration;

use conclib::prelude::*;
use messages::{Declined, Double, Doubled, Receipt, Withdraw};
use tokio::process::Command;

#[derive(Actor)]
#[actor(urn = "doubler")]
struct Doubler;

#[handlers]
impl Doubler {
    #[handler]
    async fn double(&mut self, message: Double) -> Doubled {
        println!("actor:  asked for 2 x {}", message.n);
        Doubled {
            n: u64::from(message.n) * 2,
        }
    }
}

#[derive(Actor)]
#[actor(urn = "account/1")]
struct Account {
    balance: u64,
}

#[handlers]
impl Account {
    #[handler]
    async fn withdraw(&mut self, message: Withdraw) -> Result<Receipt, Declined> {
        message.take_from(&mut self.balance)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::ERROR)
        .init();
    let redis = start_redis(&Config::new("redis://127.0.0.1:0")?).await?; // 0: any free port
    let redis_port = redis.config().port().unwrap_or_default();
    println!("demo:   Redis at port {redis_port}");

    let system = ActorSystem::new();
    system.spawn(Doubler).await?;
    system.spawn(Account { balance: 1_000 }).await?;
    start_proxy(&system, redis.config()).await?;

    let port = free_port()?;
    let base = format!("http://127.0.0.1:{port}");
    let mut web = Command::new(env!("CARGO"));
    web.args([
        "run",
        "--quiet",
        "--package",
        "conclib-examples",
        "--example",
        "web",
    ])
    .env("PORT", port.to_string())
    .envs(redis.config().variables());
    let health = format!("{base}/readyz");
    let web = start_api(web, &health)
        .timeout(Duration::from_secs(300))
        .await?;
    println!("demo:   web process at {base}");

    let http = reqwest::Client::new();
    for path in ["/double/21", "/double/1000"] {
        show("GET", path, http.get(format!("{base}{path}")).send().await?).await?;
    }
    for path in [
        "/account/1/withdraw/700",
        "/account/1/withdraw/700",
        "/account/9/withdraw/1",
    ] {
        show(
            "POST",
            path,
            http.post(format!("{base}{path}")).send().await?,
        )
        .await?;
    }

    web.shutdown().await?;
    system.shutdown().await;
    redis.shutdown().await?;
    println!("demo:   all processes ended");
    Ok(())
}

async fn show(method: &str, path: &str, answer: reqwest::Response) -> reqwest::Result<()> {
    let status = answer.status();
    println!(
        "http:   {method} {path} -> {status} {}",
        answer.text().await?
    );
    Ok(())
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
