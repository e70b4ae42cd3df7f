//! Members, a web process and callers over a real Redis: a rolling restart, and a kill.

use std::path::Path;
use std::time::Duration;

use conclib_tests::bus::Bus;
use fleet::load::{Load, Seen};
use fleet::process::{Process, Programs};
use tokio::time::sleep;

const CALLERS: usize = 24;

/// A fleet of three, and the address of its web process.
struct Fleet {
    /// Kept, since the processes need it.
    _bus: Bus,
    programs: Programs,
    members: Vec<Process>,
    web: Process,
}

impl Fleet {
    async fn start() -> Self {
        let bus = Bus::redis().await;
        let config = bus.config.clone().fleet();
        let programs = Programs::beside(Path::new(env!("CARGO_BIN_EXE_fleet-member")), config);
        let web = programs.web().await.unwrap();
        let mut members = Vec::new();
        for name in ["a", "b", "c"] {
            members.push(programs.member(name).await.unwrap());
        }
        let fleet = Self {
            _bus: bus,
            programs,
            members,
            web,
        };
        conclib_tests::eventually("all members answer", async || {
            let seen = fleet.load(Duration::from_millis(200)).await;
            seen.by_member.len() == 3
        })
        .await;
        fleet
    }

    fn begin_load(&self) -> Load {
        Load::start(&self.web.first_line, CALLERS)
    }

    async fn load(&self, time: Duration) -> Seen {
        let load = self.begin_load();
        sleep(time).await;
        load.stop().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_shared_and_a_rolling_restart_fails_no_request() {
    let mut fleet = Fleet::start().await;
    let seen = fleet.load(Duration::from_secs(2)).await;
    assert!(seen.failures.is_empty(), "{seen}");
    let even = seen.answers() / 3;
    for share in seen.by_member.values() {
        assert!((even * 8 / 10..=even * 12 / 10).contains(share), "{seen}");
    }

    let load = fleet.begin_load();
    for name in ["a", "b", "c"] {
        let next = fleet.programs.member(&format!("{name}-next")).await;
        let former = fleet.members.remove(0);
        fleet.members.push(next.unwrap());
        former.stop().await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let seen = load.stop().await;
    assert!(seen.failures.is_empty(), "{seen}");
    assert!(seen.by_member.contains_key("c-next"), "{seen}");
    fleet.web.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_member_takes_no_more_requests_with_it_than_it_had_taken() {
    let mut fleet = Fleet::start().await;
    let load = fleet.begin_load();
    sleep(Duration::from_millis(300)).await;
    fleet.members.remove(0).kill().await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let seen = load.stop().await;
    let failed: usize = seen.failures.values().sum();
    assert!(failed <= CALLERS / 3 + 4, "{seen}");
    let timeouts = "504 Gateway Timeout";
    assert!(
        seen.failures.keys().all(|failure| failure == timeouts),
        "{seen}"
    );
    // Everything that follows is answered.
    let seen = fleet.load(Duration::from_secs(1)).await;
    assert!(seen.failures.is_empty(), "{seen}");
    assert_eq!(seen.by_member.len(), 2, "{seen}");
}
