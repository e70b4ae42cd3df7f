//! The support for users' tests: `conclib::test`.

mod context;
mod failures;
mod faults;
mod probe;
mod time;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

/// The message of a panic.
fn panic_of<T>(act: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(act())));
    text(&*panic.expect_err("it panics"))
}

/// The message of a future's panic.
async fn panic_of_future<T>(future: impl Future<Output = T>) -> String {
    let panic = AssertUnwindSafe(future).catch_unwind().await.err();
    text(&*panic.expect("it panics"))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .expect("a text")
}
