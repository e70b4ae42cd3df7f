//! Messages whose types differ between members, and those that did not decode, in `doctor`.

use conclib::prelude::*;
use conclib_tests::bus::Bus;
use serde_json::{Value, json};

use crate::support::Tool;

/// A version of a message, and an actor of its version.
macro_rules! version {
    ($version:ident { $($field:ident: $type:ty),* }) => {
        mod $version {
            use conclib::prelude::*;

            #[derive(ActorMessage, Serialize, Deserialize)]
            #[message(response = u32)]
            pub(super) struct Greet { $(pub(super) $field: $type),* }

            /// The same in both versions.
            #[derive(ActorMessage, Serialize, Deserialize)]
            pub(super) struct Leave;

            #[derive(Actor)]
            #[actor(urn = "greeter")]
            pub(super) struct Greeter;

            #[handlers]
            impl Greeter {
                #[handler]
                fn greet(&mut self, message: Greet) -> u32 {
                    message.n
                }

                #[handler]
                fn leave(&mut self, _: Leave) {}
            }
        }
    };
}

version!(old { n: u32 });
version!(new {
    n: u32,
    name: String
});

/// The findings of `doctor` about schemas.
async fn findings(tool: &Tool) -> Vec<Value> {
    let run = tool.run(&["doctor", "--json"]).await;
    run.ok();
    let report = run.json();
    let all = report["findings"].as_array().unwrap().iter();
    let found = all.filter(|finding| finding["check"] == "schemas");
    found.cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_lists_messages_that_differ_between_members() {
    let bus = Bus::redis().await;
    let tool = Tool::new(&bus.url()).with("CONCLIB_FLEET", "1");
    let config = |instance| bus.config.clone().fleet().instance(instance);
    let (first, second) = (ActorSystem::new(), ActorSystem::new());
    conclib::start_proxy(&first, &config("eu-1")).await.unwrap();
    conclib::start_proxy(&second, &config("eu-2"))
        .await
        .unwrap();
    first.spawn(old::Greeter).await.unwrap();
    assert_eq!(findings(&tool).await[0]["level"], "ok");

    second.spawn(new::Greeter).await.unwrap();
    let [finding] = &findings(&tool).await[..] else {
        panic!("one message differs");
    };
    assert_eq!(
        (&finding["level"], &finding["message"]),
        (&json!("warn"), &json!("Greet"))
    );
    let schemas = json!([
        {"schema": "Greet { n: u32 } -> u32", "members": ["eu-1"]},
        {"schema": "Greet { n: u32, name: String } -> u32", "members": ["eu-2"]},
    ]);
    assert_eq!(finding["schemas"], schemas);
    let lines = tool.run(&["doctor"]).await;
    for text in [
        "warn  schemas      the members have several types of the message Greet:",
        "                   Greet { n: u32 } -> u32  (eu-1)",
        "                   Greet { n: u32, name: String } -> u32  (eu-2)",
    ] {
        assert!(lines.ok().lines().any(|line| line == text), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_lists_messages_that_did_not_decode() {
    let bus = Bus::redis().await;
    let (system, _proxy) = bus.system().await;
    system.spawn(new::Greeter).await.unwrap();
    let client = bus.client().await;
    let tool = Tool::new(&bus.url());
    assert_eq!(findings(&tool).await[0]["level"], "ok");
    for n in 0..2 {
        let asked = client.ask("greeter", old::Greet { n }).await;
        assert!(
            matches!(asked, Err(AskError::BadRequest { .. })),
            "{asked:?}"
        );
    }
    let [finding] = &findings(&tool).await[..] else {
        panic!("one message did not decode");
    };
    assert_eq!(
        (&finding["message"], &finding["undecoded"]),
        (&json!("Greet"), &json!(2))
    );
    let schema = "Greet { n: u32, name: String } -> u32";
    assert_eq!(
        finding["schemas"],
        json!([{"schema": schema, "members": ["main"]}])
    );
    let lines = tool.run(&["doctor"]).await;
    let text = "warn  schemas      the message Greet did not decode at main, 2 times, last ";
    assert!(lines.ok().contains(text), "{lines:?}");
    assert!(lines.output.contains(schema), "{lines:?}");
}
