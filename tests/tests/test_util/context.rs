//! Contexts for unit tests of handlers.

use conclib::prelude::*;
use conclib::test::TestSystem;
use conclib_tests::scripted::ScriptedActor;
use conclib_tests::{Log, TestResult, within};

#[tokio::test]
async fn context_of_a_test_spawns_root_actors_of_its_system() -> TestResult {
    let system = TestSystem::new();
    let ctx = Context::<ScriptedActor>::test_in(&system);
    let child = within(
        ctx.spawn(ScriptedActor::new("a", &Log::default()))
            .urn("child"),
    )
    .await?;
    let own = ctx.system().ok_or("no system")?;
    assert_eq!(own.actor::<ScriptedActor>("child")?.urn(), child.urn());
    assert!(own.actor::<ScriptedActor>(ctx.urn().as_str()).is_err());
    assert_eq!(own.snapshot().actors[0].parent, None);
    system.finish().await; // stops the child in order, though the context lives
    drop(ctx);
    assert!(child.is_stopped());
    Ok(())
}
