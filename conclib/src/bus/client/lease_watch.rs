//! The look at the lease while durable requests wait for their answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::bus::client::answer_watch::{AnswerWatch, Signs};
use crate::bus::client::shared::ClientShared;
use crate::bus::transport::Epoch;

/// The interval in which a client looks at the lease, whatever the number of requests that wait.
const INTERVAL: Duration = Duration::from_secs(1);

impl ClientShared {
    /// The events so far that may have taken an answer with them.
    pub(super) fn signs(&self) -> Signs {
        Signs {
            losses: self.health.losses(),
            term_ends: self.lease_watch.ends(),
        }
    }

    /// Begins to watch for the loss of the answer to a request that is sent now, as the repetition of
    /// this number.
    pub(super) fn watch_answer(self: &Arc<Self>, repetition: u32) -> AnswerWatch {
        let (watch, starts) = AnswerWatch::begin(&self.lease_watch, self.signs(), repetition);
        if starts {
            drop(self.runtime.spawn(watch_lease(self.clone())));
        }
        watch
    }
}

/// Looks at the lease from time to time, as long as requests wait and the client is open.
async fn watch_lease(shared: Arc<ClientShared>) {
    let mut known: Option<Epoch> = None;
    loop {
        // A system that is absent or not reached has its next term later.
        if let Ok(Some(lease)) = shared.read_clock(&shared.link, &*shared.transport).await {
            let before = known.replace(lease.epoch);
            if before.is_some_and(|before| before != lease.epoch) {
                shared.lease_watch.note_end();
            }
        }
        let pause = shared.closed.run_until_cancelled(sleep(INTERVAL));
        if pause.await.is_none() || shared.lease_watch.ends_watch() {
            return;
        }
    }
}
