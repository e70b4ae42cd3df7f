//! Permissions that a user lacks are named at the start, and noticed when they are revoked in the middle.

use conclib::ConnectError;
use conclib::bus::ConnectionState;
use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::messages::Double;
use conclib_tests::{SECOND, eventually, within};

use crate::acl::{Locked, answers_again, config_of, serve, serve_with_proxy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_permission_fails_the_start_with_the_line_that_mends_it() {
    let locked = Locked::start().await;
    for (rules, hint) in [
        ("-blmpop", "requests cannot be popped: NOPERM"),
        ("-@blocking", "requests cannot be popped: NOPERM"),
        ("-publish", "replies cannot be published: NOPERM"),
        ("resetchannels", "replies cannot be published: NOPERM"),
    ] {
        locked.revoke("actors", rules).await;
        let error = start_proxy(&ActorSystem::new(), &config_of(locked.actors)).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, ConnectError::Unreachable { .. }),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(text.contains(hint), "{rules}: {text}");
        // The line is the one that an administrator needs.
        let (_, line) = text.split_once("mend that: ").unwrap();
        assert_eq!(locked.admin.says(line).await, "+OK");
    }
    drop(serve(locked.actors).await);
    // A client's rules are in selectors, which can only be taken away together.
    let lease = "(+get %R~shop:{n:till}:lease)";
    let without_push = format!("clearselectors {lease} (+lrem %W~shop:{{n:till}}:inbox:*)");
    for (rules, hint) in [
        (&*without_push, "requests cannot be sent: NOPERM"),
        ("-subscribe", "NOPERM"),
        ("resetchannels", "NOPERM"),
    ] {
        locked.revoke("web", rules).await;
        let error = ProxyClient::connect(&config_of(locked.web)).await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains(hint), "{rules}: {text}");
        locked.grant().await;
    }
    drop(ProxyClient::connect(&config_of(locked.web)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_given_back_while_a_permission_is_missing() {
    let locked = Locked::start().await;
    let (system, proxy) = serve_with_proxy(locked.actors).await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    for (rules, part) in [("-publish", "published"), ("-@blocking", "popped")] {
        answers_again(&client).await;
        locked.revoke("actors", rules).await;
        // This one may have been handled.
        let ask = client.ask("worker", Double { n: 1 }).timeout(SECOND);
        drop(ask.await);
        let mut state = proxy.connection_state();
        let says_so = |state: &ConnectionState| state.to_string().contains(part);
        drop(within(state.wait_for(says_so)).await.unwrap());
        eventually("others hear that no system serves", async || {
            let ask = client.ask("worker", Double { n: 1 }).timeout(SECOND);
            ask.await == Err(AskError::NoResponder)
        })
        .await;
        locked.grant().await;
    }
    answers_again(&client).await;
    assert!(system.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_command_puts_no_answer_out_of_step() {
    let locked = Locked::start().await;
    let system = serve(locked.actors).await;
    let client = ProxyClient::connect(&config_of(locked.web)).await.unwrap();
    for n in 0..10 {
        assert_eq!(client.ask("worker", Double { n }).await, Ok(2 * n));
        let rules = "clearselectors (+get %R~shop:{n:till}:lease)";
        locked.revoke("web", rules).await;
        let refused = client.ask("worker", Double { n }).await;
        let Err(AskError::Unavailable { reason }) = &refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains("NOPERM"), "{reason}");
        let durable = client.ask("worker", Double { n }).durable();
        let durable = durable.timeout(SECOND / 10).await.unwrap_err();
        assert_eq!(durable.delivered(), Delivered::No, "{durable:?}");
        locked.grant().await;
        assert_eq!(
            client.ask("worker", Double { n: 100 + n }).await,
            Ok(200 + 2 * n)
        );
    }
    assert!(system.shutdown().await.is_clean());
}
