//! `top`, once and in a terminal.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::inspections::Parent;
use crate::support::{Tool, fixture};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_looks_once_without_a_terminal() {
    let (_bus, tool) = fixture().await;
    tool.run(&["ask", "worker", "Double", r#"{"n":1}"#])
        .await
        .ok();
    let top = tool.run(&["top", "--once", "--json"]).await.json();
    let member = &top["members"][0];
    assert_eq!(
        (&member["node"], &member["actors"]),
        (&json!("main"), &json!(3))
    );
    assert_eq!(
        (&member["asks"], &member["answers_ok"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&top["durable_stored"], &top["waits"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(top["types"].as_array().unwrap().len(), 3);
    let table = tool.run(&["top", "--once"]).await;
    assert!(table.ok().contains("Worker"), "{table:?}");
    let refused = tool.run(&["top"]).await;
    assert!(refused.failed(2).contains("--once"), "{refused:?}");
}

/// A terminal of its own for the tool.
pub(crate) struct Terminal(String);

impl Terminal {
    pub(crate) fn start(
        name: &str,
        tool: &Tool,
        arguments: &str,
        [width, height]: [&str; 2],
    ) -> Self {
        let terminal = Self(format!("conclib-{name}-{}", std::process::id()));
        let program = tool.shell_command(arguments);
        let (session, shell) = (terminal.0.clone(), format!("{program}; echo ended $?; cat"));
        terminal.tmux(&[
            "new-session",
            "-d",
            "-s",
            &session,
            "-x",
            width,
            "-y",
            height,
            &shell,
        ]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let socket = ["-L", &self.0];
        let output = Command::new("tmux")
            .args(socket)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn resize(&self, [width, height]: [&str; 2]) {
        self.tmux(&["resize-window", "-t", &self.0, "-x", width, "-y", height]);
    }

    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", &self.0], keys].concat());
    }

    pub(crate) async fn shows(&self, text: &str) {
        let wait = async {
            while !self
                .tmux(&["capture-pane", "-p", "-t", &self.0])
                .contains(text)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(conclib_tests::TEST_TIMEOUT, wait)
            .await
            .is_err()
        {
            let screen = self.tmux(&["capture-pane", "-p", "-t", &self.0]);
            panic!("no `{text}` in\n{screen}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(
            Command::new("tmux")
                .args(["-L", &self.0, "kill-server"])
                .output(),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_runs_in_a_terminal() {
    if Command::new("tmux").arg("-V").output().is_err() {
        eprintln!("SKIPPED: there is no tmux, so that `top` is not tried in a terminal");
        return;
    }
    let (bus, tool) = fixture().await;
    bus.system.spawn(Parent).await.unwrap();
    let terminal = Terminal::start("top", &tool, "top --interval 200ms", ["120", "30"]);
    terminal.shows("members 1 (main)").await;
    terminal.shows("Worker").await;
    terminal.press(&["2"]);
    terminal.shows("parent/child").await;
    terminal.press(&["/", "chil", "Enter"]);
    terminal.shows("/ chil").await;
    terminal.press(&["Enter"]);
    terminal.shows("actor (Esc: back)").await;
    terminal.shows("parent       parent").await;
    terminal.press(&["Escape"]);
    terminal.press(&["3"]);
    tool.run(&["tell", "worker", "Explode"]).await.ok();
    terminal.press(&["Escape"]);
    terminal.shows("worker explode panic").await;
    terminal.press(&["q"]);
    terminal.shows("ended 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_fits_a_narrow_terminal() {
    if Command::new("tmux").arg("-V").output().is_err() {
        eprintln!("SKIPPED: there is no tmux, so that `top` is not tried in a terminal");
        return;
    }
    let (_bus, tool) = fixture().await;
    let size = ["60", "20"];
    let terminal = Terminal::start("narrow", &tool, "top --interval 200ms --sort name", size);
    terminal.shows("ReplyHolder").await;
    terminal
        .shows("TYPE         ACTORS  QUEUED  OLDEST  RUNNING  HANDLED")
        .await;
    terminal.press(&["2"]);
    terminal.shows("URN ").await;
    terminal.shows("worker").await;
    terminal.press(&["End"]);
    terminal.press(&["Enter"]);
    terminal.shows("urn          worker").await;
    terminal.shows("Up and Down: scroll").await;
    terminal.press(&["End"]);
    terminal.shows("secret (Secret)").await;
    terminal.press(&["Escape"]);
    terminal.shows("q quit").await;
    // Columns come back with the room for them.
    terminal.press(&["1"]);
    terminal.resize(["120", "30"]);
    terminal.shows("HANDLED  FAILURES  RESTARTS").await;
    terminal.resize(["60", "20"]);
    terminal
        .shows("TYPE         ACTORS  QUEUED  OLDEST  RUNNING  HANDLED\n")
        .await;
    terminal.press(&["q"]);
    terminal.shows("ended 0").await;
}
