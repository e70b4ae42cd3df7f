//! The exporter, scraped by a real Prometheus that has the alert rules. In the long suite, since few machines have one.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use conclib::metrics::Exporter;
use conclib::prelude::*;
use conclib_tests::eventually;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

#[derive(ActorMessage, Serialize, Deserialize)]
struct Fail;

#[derive(Actor)]
#[actor(urn = "fragile", mailbox = 4)]
struct Fragile;

#[handlers]
impl Fragile {
    #[handler]
    fn fail(&mut self, _: Fail) -> Result<(), Failure> {
        Err(Failure::msg("as always"))
    }
}

/// Serves the metrics of this process; returns the port.
async fn serve(handle: PrometheusHandle) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/metrics", get(async move || handle.render()));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    port
}

/// A Prometheus; killed on drop.
struct Prometheus {
    _process: Child,
    address: String,
}

impl Prometheus {
    async fn start(target: u16) -> Self {
        let folder =
            std::env::temp_dir().join(format!("conclib-prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/alerts.yml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{rules}']\n\
             scrape_configs:\n  - job_name: test\n    static_configs:\n      - targets: ['127.0.0.1:{target}']\n"
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus is installed");
        Self {
            _process: process,
            address,
        }
    }

    /// The `data` of an answer of its API, once it answers.
    async fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let text = reqwest::get(url).await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        Some(answer["data"].clone())
    }

    /// The value of a series, if there is one.
    async fn value(&self, query: &str) -> Option<f64> {
        let data = self.get(&format!("query?query={query}")).await?;
        data["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

/// Prometheus reads each expression of the board, as a rule.
#[test]
#[ignore = "needs promtool: scripts/long prometheus"]
fn expressions_of_the_board_are_read_by_prometheus() {
    let board: Value =
        serde_json::from_str(include_str!("../../docs/operations/board.json")).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let rules: Vec<_> = targets
        .enumerate()
        .map(|(number, target)| {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$job", ".*");
            let expression = expression.replace("$__rate_interval", "1m");
            serde_json::json!({ "record": format!("board:{number}"), "expr": expression })
        })
        .collect();
    assert!(rules.len() > 24);
    let groups = serde_json::json!({ "groups": [{ "name": "board", "rules": rules }] });
    let file = std::env::temp_dir().join(format!("conclib-board-{}.json", std::process::id()));
    std::fs::write(&file, groups.to_string()).unwrap(); // JSON is YAML
    let checked = std::process::Command::new("promtool")
        .args(["check", "rules"])
        .arg(&file)
        .output()
        .expect("promtool is installed");
    std::fs::remove_file(file).unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test]
#[ignore = "needs a Prometheus: scripts/long prometheus"]
async fn prometheus_scrapes_the_counters_and_raises_alerts() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let target = serve(recorder.handle()).await;
    let prometheus = Prometheus::start(target).await;
    let system = ActorSystem::new();
    let fragile = system
        .supervise(|| async { Fragile })
        .unlimited()
        .await
        .unwrap();
    let mut exporter = metrics::with_local_recorder(&recorder, || Exporter::new().system(&system));
    let mut publish = || metrics::with_local_recorder(&recorder, || exporter.publish());
    publish();
    eventually("the actor is scraped", async || {
        prometheus
            .value("conclib_actors{actor=\"Fragile\",phase=\"running\"}")
            .await
            == Some(1.0)
    })
    .await;
    let rules = prometheus.get("rules").await.unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    let written = include_str!("../../docs/operations/alerts.yml");
    assert_eq!(rules.len(), written.matches("- alert:").count());

    while system.metrics().of("Fragile").unwrap().restarts < 6 {
        let _refused = fragile.try_tell(Fail);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    publish();
    eventually("the alert is raised", async || {
        let alerts = prometheus.get("alerts").await.unwrap_or_default();
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        let is_raised = |alert: &Value| {
            alert["labels"]["alertname"] == "ConclibRestarts" && alert["state"] == "firing"
        };
        alerts.iter().any(is_raised)
    })
    .await;
    for rule in prometheus.get("rules").await.unwrap()["groups"][0]["rules"]
        .as_array()
        .unwrap()
    {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}
