//! Replies that are kept, moved, dropped, and no longer awaited.

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib_tests::{Gate, SECOND, TestResult, gate, poll_once, within};

#[derive(ActorMessage)]
#[message(local, response = u32)]
enum Later {
    Keep,
    Move(Gate),
    Drop,
    DropInTask,
}

#[derive(ActorMessage)]
#[message(local, response = Vec<bool>)]
struct Answer(u32);

#[derive(Actor, Default)]
struct Clerk {
    kept: Vec<Reply<u32>>,
}

#[handlers]
impl Clerk {
    #[handler]
    fn later(&mut self, message: Later, reply: Reply<u32>) {
        match message {
            Later::Keep => self.kept.push(reply),
            Later::Move(gate) => drop(tokio::spawn(async move {
                gate.pass().await;
                reply.send(7);
            })),
            Later::Drop => {}
            Later::DropInTask => drop(tokio::spawn(async move { drop(reply) })),
        }
    }

    /// Answers the kept replies; the response says for each if it was awaited.
    #[handler]
    fn answer(&mut self, Answer(n): Answer) -> Vec<bool> {
        let answer = |reply: Reply<u32>| {
            let wanted = reply.is_wanted();
            reply.send(n);
            wanted
        };
        self.kept.drain(..).map(answer).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn reply_is_answered_from_anywhere() -> TestResult {
    let system = ActorSystem::new();
    let clerk = system.spawn(Clerk::default()).await?;
    let mut kept = clerk.ask(Later::Keep);
    assert!(poll_once(&mut kept).await.is_pending());
    let mut given_up = clerk.ask(Later::Keep).timeout(SECOND);
    assert!(poll_once(&mut given_up).await.is_pending());
    clerk.tell(Later::Keep).await?;
    assert!(matches!(
        given_up.await,
        Err(AskError::Timeout {
            delivered: Delivered::Accepted
        })
    ));
    assert_eq!(clerk.ask(Answer(5)).await?, [true, false, false]);
    assert_eq!(kept.await, Ok(5));

    let (gate, mut keeper) = gate();
    let moved = tokio::spawn(clerk.ask(Later::Move(gate)));
    keeper.reached().await;
    clerk.stop();
    clerk.stopped().await;
    keeper.open(); // the answer outlives the actor
    assert_eq!(within(moved).await?, Ok(7));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dropped_reply_is_an_answer() -> TestResult {
    let system = ActorSystem::new();
    let clerk = system.spawn(Clerk::default()).await?;
    assert_eq!(within(clerk.ask(Later::Drop)).await, Err(AskError::NoReply));
    assert_eq!(
        within(clerk.ask(Later::DropInTask)).await,
        Err(AskError::NoReply)
    );
    let kept = tokio::spawn(clerk.ask(Later::Keep));
    tokio::task::yield_now().await;
    clerk.stop();
    assert_eq!(within(kept).await?, Err(AskError::NoReply));
    Ok(())
}
