//! Exit codes and errors of commands that cannot do their work.

use conclib::bus::Role;
use conclib_tests::bus::Bus;

use crate::support::{Tool, fixture};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_2() {
    let tool = Tool::new("redis://127.0.0.1:1");
    for arguments in [
        &["ask"][..],
        &["ask", "worker", "Double", "{n:1}"],
        &["ask", "worker", "Double", "18446744073709551616"],
        &["ask", "worker", "Double", "@/no/such/file"],
        &["ask", "worker", "Double", "--attribute", "tenant"],
        &["ask", "worker", "Double", "--namespace", "two words"],
        &["ask", "worker", "Double", "--redis", "http://localhost"],
        &["ask", "worker", "Double", "--timeout", "soon"],
        &["dead", "replay"],
        &["dead", "rm", "1-0", "--all"],
        &["nothing"],
    ] {
        let run = tool.run(arguments).await;
        assert!(
            !run.failed(2).is_empty() && run.output.is_empty(),
            "{run:?}"
        );
    }
}

/// An option is named by the name by which it was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_options_are_named_with_an_example() {
    let tool = Tool::new("redis://127.0.0.1:1");
    for (option, value, example) in [
        ("--timeout", "soon", "try: --timeout 500ms, "),
        ("--timeout", "0s", "try: --timeout 500ms, "),
        ("--namespace", "two words", "try: --namespace shop"),
        ("--node", "two words", "try: --node main"),
        (
            "--redis",
            "http://localhost",
            "try: --redis redis://localhost:6379",
        ),
    ] {
        let run = tool.run(&["ask", "worker", "Double", option, value]).await;
        let errors = run.failed(2);
        assert!(
            errors.starts_with(&format!("error: {option} is wrong: ")) && errors.contains(example),
            "{run:?}"
        );
    }
    let variable = tool.with("CONCLIB_TIMEOUT", "soon");
    let run = variable.run(&["ping"]).await;
    let errors = run.failed(2);
    assert!(
        errors.starts_with("error: CONCLIB_TIMEOUT is wrong: "),
        "{run:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_json_with_json() {
    let tool = Tool::new("redis://127.0.0.1:1");
    for (arguments, text, advice) in [
        (&["--json"][..], "a command is missing", "conclib --help"),
        (
            &["--json", "nothing"],
            "unrecognized subcommand 'nothing'",
            "Usage: conclib",
        ),
        (
            &["statu", "--json"],
            "unrecognized subcommand 'statu'",
            "tip: a similar subcommand exists: 'status'",
        ),
        (
            &["ask", "--json"],
            "required arguments were not provided",
            "Usage: conclib ask",
        ),
        (
            &["--json", "ls", "--min-age", "soon"],
            "`soon` is no duration",
            "conclib --help",
        ),
        (
            &["dead", "replay", "--json"],
            "no dead letters are chosen",
            "--all",
        ),
    ] {
        let run = tool.run(arguments).await;
        let error: serde_json::Value = serde_json::from_str(run.failed(2)).unwrap();
        assert_eq!(
            (&error["error"], &error["exit"]),
            (&"usage".into(), &2.into())
        );
        let has = |field: &str, part: &str| error[field].as_str().unwrap().contains(part);
        assert!(has("text", text) && has("advice", advice), "{error}");
        assert_eq!(run.output, "");
    }
    // Arguments behind `--` are no options.
    let plain = tool.run(&["nothing", "--", "--json"]).await;
    assert!(plain.failed(2).starts_with("error: "), "{plain:?}");
    let help = tool.run(&["--json", "--help"]).await;
    assert!(help.ok().contains("Usage: conclib"), "{help:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_all_is_3() {
    let tool = Tool::new("redis://127.0.0.1:1");
    for arguments in [
        &["ask", "worker", "Recorded"][..],
        &["tell", "worker", "Record", r#"{"n":1}"#],
        &["ping"],
        &["status"],
        &["dead", "ls"],
        &["durable", "ls"],
    ] {
        let run = tool.run(arguments).await;
        let errors = run.failed(3);
        assert!(
            errors.contains("127.0.0.1:1") && errors.contains("try: "),
            "{run:?}"
        );
    }
    let doctor = tool.run(&["doctor"]).await;
    assert_eq!(doctor.failed(3), "", "the finding says it");
    assert!(doctor.output.starts_with("error unavailable"), "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_actor_system_requests_are_3() {
    let bus = Bus::redis().await;
    let tool = Tool::new(&bus.url());
    for arguments in [
        &["ask", "worker", "Recorded"][..],
        &["tell", "worker", "Record", r#"{"n":1}"#],
        &["ping"],
        &["ping", "worker", "-c", "2", "--interval", "1ms"],
    ] {
        let run = tool.run(arguments).await;
        assert!(run.failed(3).contains("start the actor process"), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_members_a_fleet_is_3() {
    let bus = Bus::redis().await;
    let tool = Tool::new(&bus.url());
    for arguments in [
        &["ask", "worker", "Recorded"][..],
        &["tell", "worker", "Record", r#"{"n":1}"#],
        &["ping"],
        &["ping", "worker"],
        &["status"],
        &["doctor"],
        &["ls"],
        &["ls", "--types"],
        &["actor", "worker"],
        &["tree"],
        &["top", "--once"],
        &["failures"],
        &["metrics"],
        &["log"],
        &["log", "info", "--reason", "why", "--yes"],
        &["stop", "worker", "--reason", "why", "--yes"],
        &["drain", "--reason", "why", "--yes"],
        &["drain", "eu-1", "--reason", "why", "--yes"],
    ] {
        let run = tool
            .run(&[arguments, &["--fleet", "--timeout", "1s", "--json"]].concat())
            .await;
        assert_eq!(run.code, Some(3), "{run:?}");
        // These have it in their output.
        if !matches!(arguments[0], "doctor" | "ping") {
            let error: serde_json::Value = serde_json::from_str(run.errors.trim_end()).unwrap();
            assert_eq!(error["error"], "no_responder", "{run:?}");
        }
    }
    // Not a matter of members.
    for arguments in [["dead", "ls"], ["durable", "ls"]] {
        tool.run(&[&arguments[..], &["--fleet"]].concat())
            .await
            .failed(2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_requests_are_4_and_failed_ones_6() {
    let (_bus, tool) = fixture().await;
    for (arguments, code, text) in [
        (
            &["ask", "missing", "Recorded"][..],
            4,
            "no actor has the URN `missing`",
        ),
        (&["ask", "worker", "Triple"], 4, "no handler for `Triple`"),
        (
            &["ask", "worker", "Double", r#"{"m":1}"#],
            4,
            "missing field `n`",
        ),
        (&["ask", "two words", "Double"], 4, "two words"),
        (&["ask", "holder", "Forget"], 6, "gave no answer"),
        (&["ask", "worker", "Explode"], 6, "failed while handling"),
    ] {
        let run = tool.run(arguments).await;
        assert!(run.failed(code).contains(text), "{run:?}");
        assert_eq!(run.output, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_without_rights_gets_8() {
    let (bus, _) = fixture().await;
    bus.bus
        .command(&[
            "ACL", "SETUSER", "nobody", "on", ">secret", "+hello", "+ping",
        ])
        .await;
    let web = create_user(&bus.bus, "web", Role::Client).await;
    let url = |user: &str, password: &str| {
        bus.bus
            .url()
            .replace("redis://", &format!("redis://{user}:{password}@"))
    };
    for (user, password) in [("nobody", "secret"), ("web", "wrong")] {
        let tool = Tool::new(&url(user, password));
        for arguments in [
            &["ask", "worker", "Recorded"][..],
            &["dead", "ls"],
            &["status"],
        ] {
            let run = tool.run(arguments).await;
            if (user, arguments[0]) == ("nobody", "status") {
                // All of it is refused, one by one.
                assert!(run.ok().contains("not permitted lease"), "{run:?}");
                continue;
            }
            let advice = match (user, arguments[0]) {
                ("web", _) => "check user and password",
                (_, "ask") => "`conclib acl client`",
                _ => "`conclib acl operator`",
            };
            assert!(run.failed(8).contains(advice), "{run:?}");
            assert!(!run.errors.contains("ACL SETUSER"), "{run:?}");
        }
    }
    assert_eq!(web.run(&["ask", "worker", "Recorded"]).await.ok(), "[]");
    assert!(web.run(&["dead", "ls"]).await.failed(8).contains("NOPERM"));
    let status = web.run(&["status", "--json"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    assert_eq!(status.json()["served"], true);
    assert_eq!(status.json()["refused"][0]["fact"], "server");
    let doctor = web.run(&["doctor"]).await;
    assert!(doctor.ok().contains("warn  rights"), "{doctor:?}");
    assert!(doctor.output.contains("ok    ask"), "{doctor:?}");
    let doctor = Tool::new(&url("nobody", "secret")).run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(8), "{doctor:?}");
    assert!(doctor.output.contains("error rights"), "{doctor:?}");
}

/// Creates a user with the rules of a role, and the tool for it.
pub(crate) async fn create_user(bus: &Bus, name: &str, role: Role) -> Tool {
    let rules = split_rules(&bus.config.acl(role));
    let create = ["ACL", "SETUSER", name, "on", ">secret"].into_iter();
    let create: Vec<_> = create.chain(rules.iter().map(|rule| &**rule)).collect();
    bus.command(&create).await;
    let login = format!("redis://{name}:secret@");
    Tool::new(&bus.url().replace("redis://", &login))
}

/// The rules as arguments: a rule in parentheses is one of them.
fn split_rules(rules: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut is_open = false;
    for word in rules.split(' ') {
        match all.last_mut() {
            Some(last) if is_open => {
                last.push(' ');
                last.push_str(word);
            }
            _ => all.push(word.to_owned()),
        }
        is_open = (is_open || word.starts_with('(')) && !word.ends_with(')');
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn action_without_a_name_of_its_author_is_refused() {
    let (bus, tool) = fixture().await;
    let nameless = tool.clone().with("USER", "").with("LOGNAME", "");
    let kill = ["kill", "worker", "--reason", "a test", "--yes"];
    let run = nameless.run(&kill).await;
    assert!(run.failed(2).contains("the name of its author"), "{run:?}");
    assert!(run.errors.contains("--operator"), "{run:?}");
    assert!(bus.system.snapshot().actor("worker").is_some());
}
