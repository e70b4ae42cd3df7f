//! The guide: its program is this package's, and its restarts are as it says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use conclib_tests::bus::Bus;
use conclib_tests::process::Program;
use conclib_tests::{eventually, within};
use hello::Greeting;
use tokio::time::{Instant, sleep};

const GUIDE: &str = include_str!("../../../docs/guide/README.md");

#[test]
fn guide_shows_the_files_of_this_package() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shown = 0;
    for part in GUIDE.split("\n`src/").skip(1) {
        let (name, rest) = part.split_once("`:\n\n```rust\n").expect("a file");
        let (code, _) = rest.split_once("```\n").expect("its end");
        let file = std::fs::read_to_string(package.join("src").join(name)).unwrap();
        assert_eq!(code, file, "src/{name}");
        shown += 1;
    }
    assert_eq!(shown, 3);
}

/// The processes of the guide, around a Redis of the test's own.
struct Stage {
    bus: Bus,
    web: Program,
    address: String,
}

impl Stage {
    async fn set() -> Self {
        let bus = Bus::redis().await;
        let variables = [("CONCLIB_REDIS_URL", &*bus.url()), ("PORT", "0")];
        let mut web = Program::start_with(env!("CARGO_BIN_EXE_web"), &[], &variables);
        let address = web.line("web serves at ").await;
        Self { bus, web, address }
    }

    fn worker(&self, instance: Option<&str>) -> Program {
        let url = self.bus.url();
        let mut variables = vec![("CONCLIB_REDIS_URL", &*url)];
        variables.extend(instance.map(|instance| ("CONCLIB_INSTANCE", instance)));
        Program::start_with(env!("CARGO_BIN_EXE_worker"), &[], &variables)
    }

    async fn status(&self, path: &str) -> u16 {
        let response = reqwest::get(format!("{}/{path}", self.address));
        response.await.unwrap().status().as_u16()
    }

    async fn worker_of_an_answer(&self) -> u32 {
        let response = reqwest::get(format!("{}/greet/Ada", self.address));
        let response = response.await.unwrap().error_for_status().unwrap();
        let greeting: Greeting = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(greeting.text, "Hello, Ada!");
        greeting.worker
    }

    /// Asks from 16 clients until that is stopped. Every answer counts, and each has to be a greeting.
    fn load(self: &Arc<Self>) -> Load {
        let load = Load::default();
        for _ in 0..16 {
            let (stage, load) = (self.clone(), load.clone());
            tokio::spawn(async move {
                while !load.is_over.load(Ordering::Relaxed) {
                    match stage.status("greet/Ada").await {
                        200 => load.greetings.fetch_add(1, Ordering::Relaxed),
                        _ => load.failures.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
        load
    }
}

#[derive(Clone, Default)]
struct Load {
    is_over: Arc<AtomicBool>,
    greetings: Arc<AtomicU64>,
    failures: Arc<AtomicU64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_process_waits_for_a_worker() {
    let mut stage = Stage::set().await;
    assert_eq!(stage.status("livez").await, 200);
    eventually("it is connected", async || {
        stage.status("readyz").await == 200
    })
    .await;
    let (answer, worker) = tokio::join!(stage.worker_of_an_answer(), async {
        sleep(Duration::from_millis(500)).await; // it is asked by now
        stage.worker(None)
    });
    assert_eq!(answer, worker.id());
    stage.web.signal("TERM").await;
    assert_eq!(stage.web.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart_fails_no_request() {
    let stage = Arc::new(Stage::set().await);
    let mut first = stage.worker(None);
    let mut serving = stage.worker_of_an_answer().await;
    let load = stage.load();
    for _ in 0..4 {
        let next = stage.worker(None);
        sleep(Duration::from_millis(500)).await; // it stands by
        first.signal("TERM").await;
        assert_eq!(first.exit_code().await, Some(0));
        let now = within(stage.worker_of_an_answer()).await;
        assert_ne!(now, serving);
        (first, serving) = (next, now);
    }
    load.is_over.store(true, Ordering::Relaxed);
    assert!(load.greetings.load(Ordering::Relaxed) > 100);
    assert_eq!(load.failures.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_worker_is_back_at_once_under_its_instance_name() {
    let stage = Stage::set().await;
    let mut first = stage.worker(Some("worker-0"));
    let served = stage.worker_of_an_answer().await;
    first.kill().await;
    let start = Instant::now();
    let _second = stage.worker(Some("worker-0"));
    assert_ne!(stage.worker_of_an_answer().await, served);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "less than a lease: {took:?}");
}
