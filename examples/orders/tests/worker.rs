//! The second level: worker and web within the test's process, on the bus in memory, with a real
//! database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use conclib::durable::DeadLetters;
use conclib::prelude::*;
use conclib::test::TestSystem;
use conclib::{Proxy, Urn};
use orders::{CloseOrder, GetOrder, Order, PlaceOrder, Refusal, Status, web, worker};
use rusqlite::Connection;
use serde_json::{Value, json};
use tower::ServiceExt;

const DAY: Duration = Duration::from_secs(86_400);

/// Longer than any answer takes, on a busy machine.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// A worker and its web server.
struct TestShop {
    config: Config,
    system: TestSystem,
    proxy: Proxy,
    client: ProxyClient,
    web: Router,
    database: Database,
}

/// A file that is removed in the end.
struct Database(PathBuf);

impl TestShop {
    async fn open(payment_time: Duration) -> Self {
        let name = format!("orders-{}.db", Urn::generate().as_str().replace(':', "-"));
        let database = Database(std::env::temp_dir().join(name));
        let (config, system) = (Config::memory().timeout(ASK_TIMEOUT), TestSystem::new());
        let client = ProxyClient::connect(&config).await.unwrap();
        let proxy = serve(&system, &config, &database.0, payment_time).await;
        Self {
            web: web::router(client.clone(), config.clone()),
            config,
            system,
            proxy,
            client,
            database,
        }
    }

    /// Status and body of a request.
    async fn http(&self, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let request = request.header("idempotency-key", key);
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.web.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        (
            status,
            serde_json::from_slice(&body).unwrap_or(Value::String(text)),
        )
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.http("GET", path, "", Value::Null).await
    }

    async fn post(&self, path: &str) -> u16 {
        self.http("POST", path, "", Value::Null).await.0
    }

    async fn place(&self, key: &str, order: Value) -> (u16, Value) {
        self.http("POST", "/orders", key, order).await
    }

    async fn close(self) {
        self.system.finish().await;
    }
}

/// Starts a worker, as its `main` does.
async fn serve(system: &ActorSystem, config: &Config, path: &Path, payment: Duration) -> Proxy {
    let lease = conclib::bus::acquire_lease(system, config).await.unwrap();
    let client = ProxyClient::lazy(config).unwrap();
    let started = worker::start(system.clone(), client, path, payment).await;
    started.unwrap();
    lease.serve().await.unwrap()
}

impl Database {
    fn run(&self, sql: &str) {
        let connection = Connection::open(&self.0).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            drop(std::fs::remove_file(path));
        }
    }
}

fn tea(quantity: u32) -> Value {
    json!({ "item": "tea", "quantity": quantity, "cents": 450 })
}

#[tokio::test]
async fn http_status_shows_what_became_of_an_order() {
    let shop = TestShop::open(DAY).await;
    let (status, order) = shop.place("a-1", tea(2)).await;
    assert_eq!((status, &order["status"]), (201, &json!("open")));
    assert_eq!(shop.place("a-1", tea(2)).await, (201, order.clone()));
    assert_eq!(shop.place("a-1", tea(3)).await.0, 422);
    assert_eq!(shop.place("", tea(1)).await.0, 400);
    assert_eq!(shop.place("a 2", tea(1)).await.0, 400);
    let (status, problem) = shop.place("a-2", tea(101)).await;
    let detail = json!("An order has 1 to 100 pieces.");
    assert_eq!((status, &problem["detail"]), (409, &detail));

    assert_eq!(shop.get("/orders/a-1").await, (200, order));
    assert_eq!(shop.get("/orders/a-2").await.0, 404);
    assert_eq!(shop.get("/orders/a..2").await.0, 404);
    assert_eq!(shop.post("/orders/a-2/pay").await, 404);
    assert_eq!(shop.post("/orders/a-1/pay").await, 200);
    assert_eq!(shop.post("/orders/a-1/pay").await, 200);
    assert_eq!(shop.post("/orders/a-1/cancel").await, 409);

    let (status, invoice) = shop.get("/orders/a-1/invoice").await;
    let invoice = invoice.as_str().unwrap();
    assert_eq!(status, 200);
    assert!(invoice.ends_with("Paid: 9.00 €\n"), "{invoice}");
    let (_, statistics) = shop.get("/statistics").await;
    // The full hour may have come meanwhile.
    let count = |name: &str| {
        let of = |hour: &str| statistics[hour][name].as_u64().unwrap();
        of("this_hour") + of("last_hour")
    };
    assert_eq!((count("placed"), count("paid"), count("lost")), (1, 1, 0));
    assert_eq!(shop.get("/livez").await.0, 200);
    assert_eq!(shop.get("/readyz").await.0, 200);
    shop.close().await;
}

#[tokio::test]
async fn order_expires_unless_it_is_paid() {
    let shop = TestShop::open(Duration::from_millis(300)).await;
    shop.place("late", tea(1)).await;
    shop.place("paid", tea(1)).await;
    assert_eq!(shop.post("/orders/paid/pay").await, 200);
    eventually("the other one expires", async || {
        shop.get("/orders/late").await.1["status"] == "expired"
    })
    .await;
    assert_eq!(shop.post("/orders/late/pay").await, 409);
    assert_eq!(shop.get("/orders/paid").await.1["status"], "paid");
    shop.close().await;
}

#[tokio::test]
async fn order_that_the_database_refuses_is_a_dead_letter_until_it_is_replayed() {
    let shop = TestShop::open(DAY).await;
    shop.system.expect_failure("order/odd");
    shop.database.run(
        "CREATE TRIGGER refuse BEFORE INSERT ON orders WHEN NEW.item = 'odd'
         BEGIN SELECT RAISE(ABORT, 'no such item'); END",
    );
    let odd = json!({ "item": "odd", "quantity": 1, "cents": 1 });
    assert_eq!(shop.place("odd", odd).await.0, 500);
    let (_, letters) = shop.get("/dead-letters").await;
    assert_eq!(letters[0]["key"], "odd", "{letters}");
    let reason = letters[0]["reason"].as_str().unwrap();
    assert!(reason.contains("no such item"), "{reason}");
    // Others are placed meanwhile.
    assert_eq!(shop.place("even", tea(1)).await.0, 201);

    shop.database.run("DROP TRIGGER refuse");
    assert_eq!(letters.as_array().map(Vec::len), Some(1));
    let id = letters[0]["id"].as_str().unwrap();
    let replay = format!("/dead-letters/{id}/replay");
    assert_eq!(shop.post(&replay).await, 202);
    eventually("it is placed", async || {
        shop.get("/orders/odd").await.0 == 200
    })
    .await;
    assert_eq!(shop.post(&replay).await, 404);
    let letters = DeadLetters::connect(&shop.config).await.unwrap();
    assert_eq!(letters.list().await.unwrap(), []);
    shop.close().await;
}

#[tokio::test]
async fn next_worker_has_the_orders_and_the_one_before_writes_no_more() {
    let shop = TestShop::open(DAY).await;
    let key = "a-1";
    shop.place(key, tea(1)).await;
    // The first one ends to serve, but its actors live on.
    shop.proxy.shutdown().await;
    let next = TestSystem::new();
    let proxy = serve(&next, &shop.config, &shop.database.0, DAY).await;
    assert!(proxy.epoch() > shop.proxy.epoch());

    shop.system.expect_failure("order/a-1");
    let urn = orders::order_urn(key).unwrap();
    let status = Status::Cancelled;
    let late = shop.system.ask(&*urn, CloseOrder { status }).await;
    let cause = late.unwrap_err().to_string();
    assert!(cause.contains("a newer worker has the database"), "{cause}");
    let order: Order = shop.client.ask(&urn, GetOrder).await.unwrap().unwrap();
    assert_eq!(order.status, Status::Open);
    assert_eq!(shop.post("/orders/a-1/pay").await, 200);

    let again = shop.client.ask(
        &urn,
        PlaceOrder {
            item: "tea".to_owned(),
            quantity: 9,
            cents: 450,
        },
    );
    // Without the key of the first message it reaches the order, which knows its contents.
    assert_eq!(again.await.unwrap(), Err(Refusal::KeyUsed));
    next.finish().await;
    shop.close().await;
}

/// Waits until a condition holds, and names it if it does not within a minute.
async fn eventually(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(waited.is_ok(), "never: {condition}");
}
