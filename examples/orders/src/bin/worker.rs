//! The worker: `CONCLIB_REDIS_URL`, `CONCLIB_INSTANCE`, and
//!
//! - `ORDERS_DATABASE`: the file of the database, `orders.db` unless set;
//! - `ORDERS_PAYMENT_SECONDS`: the time in which an order is to be paid, a day unless set.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use conclib::prelude::*;
use orders::worker;

#[tokio::main]
async fn main() -> RunEnd {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    run(Config::from_env(), async |system| {
        let database = env::var_os("ORDERS_DATABASE").unwrap_or("orders.db".into());
        let seconds = env::var("ORDERS_PAYMENT_SECONDS").map_or(Ok(86_400), |text| text.parse())?;
        let client = ProxyClient::lazy(&Config::from_env()?)?;
        let payment_time = Duration::from_secs(seconds);
        worker::start(system, client, &PathBuf::from(database), payment_time).await
    })
    .await
}
