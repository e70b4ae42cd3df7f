//! Ends of `run` within the test's process: their texts, their bound, and a run that is dropped.

use std::future::pending;
use std::sync::mpsc;
use std::time::Duration;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::service::{EndCause, Service, run};
use conclib_tests::logs::{capture, logged};
use conclib_tests::{SECOND, TestResult, eventually, within};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Has the shop fail.
#[derive(ActorMessage)]
#[message(local)]
struct Fail;

/// Has the shop stop.
#[derive(ActorMessage, Serialize, Deserialize)]
struct Close;

/// Waits for the end of a reply that does not come.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Block;

#[derive(Actor, Default)]
#[actor(urn = "shop")]
struct Shop {
    /// It cannot start.
    has_no_disk: bool,
}

#[handlers]
impl Shop {
    fn on_start(&mut self) -> Result<(), Failure> {
        if self.has_no_disk {
            return Err(Failure::msg("no disk"));
        }
        Ok(())
    }

    #[handler]
    fn fail(&mut self, _: Fail) -> Result<(), Failure> {
        Err(Failure::msg("disk is full"))
    }

    #[handler]
    fn close(&mut self, _: Close, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// An actor whose handler blocks its thread until the test ends.
#[derive(Actor)]
#[actor(urn = "blocks", thread)]
struct Blocks {
    began: Option<oneshot::Sender<()>>,
    released: mpsc::Receiver<()>,
}

#[handlers]
impl Blocks {
    #[handler]
    fn block(&mut self, _: Block) -> u32 {
        let _ = self.began.take().map(|began| began.send(()));
        let _ = self.released.recv(); // ends when the sender is dropped
        1
    }
}

#[tokio::test(start_paused = true)]
async fn failure_of_an_essential_actor_is_in_text_and_log() {
    capture();
    let shop = Shop::default(); // `start` may consume it: it is called once
    let end = run(Config::memory(), async move |system: ActorSystem| {
        let shop = system.spawn(shop).essential().await?;
        shop.tell(Fail).await?;
        pending().await
    });
    let end = within(end).await;
    let text = "the actor `shop` failed, and will not start again: disk is full";
    assert_eq!(end.to_string(), format!("the service ended: {text}"));
    assert!(matches!(end.cause(), EndCause::ActorEnded(_)));
    assert_eq!(end.exit_code(), 1);
    let log = logged();
    let line = log.lines().find(|line| line.contains("the service stops"));
    assert!(line.is_some_and(|line| line.contains(text)), "{log}");
}

#[tokio::test(start_paused = true)]
async fn start_that_fails_has_one_text_also_if_the_actor_is_essential() {
    for supervised in [false, true] {
        let end = run(Config::memory(), async |system: ActorSystem| {
            let shop = || async { Shop { has_no_disk: true } };
            if supervised {
                system.supervise(shop).essential().await?;
            } else {
                system.spawn(shop().await).essential().await?;
            }
            Ok(())
        });
        let end = within(end).await;
        assert_eq!(
            end.to_string(),
            "the service ended: it could not start: the actor `shop` did not start: no disk"
        );
        assert!(matches!(end.cause(), EndCause::StartFailed(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn essential_actor_that_ends_during_a_long_start_ends_the_service() {
    for start_goes_on in [true, false] {
        let end = run(Config::memory(), async |system: ActorSystem| {
            let shop = system.spawn(Shop::default()).essential().await?;
            shop.tell(Fail).await?;
            if start_goes_on {
                return pending().await;
            }
            shop.stopped().await;
            Ok(()) // it does not look
        });
        let end = within(end).await;
        assert!(matches!(end.cause(), EndCause::ActorEnded(_)), "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_run_stops_the_actors_whatever_refers_to_their_system() -> TestResult {
    let (kept, mut keeps) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        let end = run(Config::memory(), async |system: ActorSystem| {
            let shop = system.spawn(Shop::default()).await?;
            system
                .on_demand("shop/*", |_| async { Shop::default() })
                .await?;
            kept.send((system.clone(), shop))?;
            Ok(())
        });
        drop(end.await);
    });
    let (system, shop) = within(keeps.recv()).await.ok_or("it starts")?;
    running.abort();
    assert!(matches!(within(shop.stopped()).await, StopReason::Shutdown));
    let refused = system.spawn(Shop::default()).await;
    assert!(matches!(refused, Err(SpawnError::SystemClosed)));
    let refused = system.tell("shop/1", Close).await;
    assert_eq!(refused.unwrap_err().reason(), &AskError::NoResponder);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn blocked_actor_does_not_hold_up_the_end_beyond_its_bound() -> TestResult {
    for shuts_down_itself in [false, true] {
        let config = Config::memory();
        let (release, released) = mpsc::channel();
        let (began, mut begins) = oneshot::channel();
        let mut blocks = Some(Blocks {
            began: Some(began),
            released,
        });
        let (kept, mut keeps) = tokio::sync::mpsc::unbounded_channel();
        let service = Service::new(&config).shutdown_timeout(25 * SECOND);
        let running = tokio::spawn(service.run(move |system: ActorSystem| {
            let blocks = blocks.take();
            let kept = kept.clone();
            async move {
                system.spawn(blocks.ok_or(Failure::msg("again"))?).await?;
                system.spawn(Shop::default()).essential().await?;
                kept.send(system)?;
                Ok(())
            }
        }));
        let system = within(keeps.recv()).await.ok_or("it starts")?;
        let client = ProxyClient::connect(&config).await?;
        eventually("it serves", async || client.responder().await.is_ok()).await;
        let asked = tokio::spawn(client.ask("blocks", Block).timeout(600 * SECOND));
        // Its thread is real, and the time of the test is not.
        while begins.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        if shuts_down_itself {
            tokio::spawn(system.shutdown().timeout(25 * SECOND));
        } else {
            client.tell("shop", Close).await?;
        }
        let end = tokio::time::timeout(600 * SECOND, running).await??;
        let took = start.elapsed();
        assert_eq!(end.report().stuck, ["blocks"]);
        assert!(took >= 25 * SECOND, "{took:?}");
        assert!(took <= 27 * SECOND + Duration::from_millis(100), "{took:?}");
        asked.abort();
        drop(release);
        while !system.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
