//! A client's end of a bus with injected faults.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::bus::faults::delay_queue::DelayQueue;
use crate::bus::faults::{Faults, check};
use crate::bus::keys::Keys;
use crate::bus::transport::fleet::{FleetView, MapVersion, Members, NameOwners};
use crate::bus::transport::stream::{NewEntry, StreamProducer};
use crate::bus::transport::{
    ClientTransport, Copies, Enqueued, Epoch, Frame, LeaseRecord, ReplySink, ServerTime,
    TransportError,
};
use crate::core::spawn_task;
use crate::reply::remote::ClientId;
use crate::urn::Urn;

/// A client's end. Responses meet their faults where they are received.
pub(super) struct FaultyClient {
    inner: Arc<dyn ClientTransport>,
    faults: Faults,
}

impl FaultyClient {
    /// `open` opens the inner end.
    pub(super) fn new(
        open: impl FnOnce(Arc<dyn ReplySink>) -> Arc<dyn ClientTransport>,
        faults: &Faults,
        client: ClientId,
        replies: Arc<dyn ReplySink>,
    ) -> Self {
        faults.connect(client);
        let (sender, receiver) = mpsc::unbounded_channel();
        let inner = open(Arc::new(ChannelSink(sender)));
        spawn_task(forward_replies(client, receiver, replies, faults.clone()));
        let faults = faults.clone();
        Self { inner, faults }
    }
}

#[async_trait]
impl ClientTransport for FaultyClient {
    async fn lease(
        &self,
        node: &Keys,
    ) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        check(&self.faults)?;
        self.inner.lease(node).await
    }

    async fn enqueue(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
    ) -> Result<Enqueued, TransportError> {
        check(&self.faults)?;
        self.inner.enqueue(node, epoch, frames).await
    }

    async fn take_back(
        &self,
        node: &Keys,
        epoch: Epoch,
        frames: Vec<Frame>,
        copies: Copies,
    ) -> Result<Vec<bool>, TransportError> {
        check(&self.faults)?;
        self.inner.take_back(node, epoch, frames, copies).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl StreamProducer for FaultyClient {
    async fn append(&self, messages: Vec<NewEntry>) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.append(messages).await
    }

    async fn len(&self) -> Result<u64, TransportError> {
        check(&self.faults)?;
        self.inner.len().await
    }
}

#[async_trait]
impl FleetView for FaultyClient {
    async fn version(&self) -> Result<MapVersion, TransportError> {
        check(&self.faults)?;
        self.inner.version().await
    }

    async fn members(&self) -> Result<Members, TransportError> {
        check(&self.faults)?;
        self.inner.members().await
    }

    async fn look_up(&self, names: &[Urn]) -> Result<NameOwners, TransportError> {
        check(&self.faults)?;
        self.inner.look_up(names).await
    }
}

/// Published to a client.
enum Published {
    Reply(Bytes),
    MapChanged,
}

/// Passes a client's replies to the task that delays them.
struct ChannelSink(mpsc::UnboundedSender<Published>);

impl ReplySink for ChannelSink {
    fn receive(&self, frame: Bytes) {
        // Fails only if the client is gone.
        drop(self.0.send(Published::Reply(frame)));
    }

    fn map_changed(&self) {
        drop(self.0.send(Published::MapChanged)); // as above
    }
}

/// Forwards a client's replies and notices through the faults, until the connection is closed.
async fn forward_replies(
    client: ClientId,
    mut published: mpsc::UnboundedReceiver<Published>,
    to: Arc<dyn ReplySink>,
    faults: Faults,
) {
    let (mut replies, mut notices) = (DelayQueue::new(&faults), DelayQueue::new(&faults));
    loop {
        tokio::select! {
            biased;
            now = arrival(replies.next()) => {
                for frame in replies.take(now, usize::MAX) {
                    if faults.is_cut() {
                        debug!("injected fault: a response is lost, since the bus is cut");
                    } else {
                        to.receive(frame);
                    }
                }
            }
            now = arrival(notices.next()) => {
                for _ in notices.take(now, usize::MAX) {
                    if faults.is_cut() {
                        debug!("injected fault: a notice is lost, since the bus is cut");
                    } else {
                        to.map_changed();
                    }
                }
            }
            sent = published.recv() => match sent {
                Some(Published::Reply(frame)) => replies.send_reply(client, &frame, Instant::now()),
                Some(Published::MapChanged) => notices.send_notice(client, Instant::now()),
                None => return,
            },
        }
    }
}

/// Waits until `due`; returns the time then.
async fn arrival(due: Option<Instant>) -> Instant {
    match due {
        None => pending().await,
        Some(due) => {
            // A timer has a resolution of a millisecond: a frame that is due now must not wait for it.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            Instant::now()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::bus::config::Config;
    use crate::bus::open::{open_client, open_server};
    use crate::bus::transport::fleet::{MemberProfile, MemberState};

    #[derive(Default)]
    struct Notices(AtomicUsize);

    impl ReplySink for Notices {
        fn receive(&self, _: Bytes) {}

        fn map_changed(&self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn notices_meet_the_faults_of_responses() {
        let second = Duration::from_secs(1);
        let faults = Faults::seeded(7).delay(second..second).lose(0.5);
        let config = Config::memory().faults(faults.clone()).fleet();
        let sink = Arc::new(Notices::default());
        let (id, health) = (ClientId([1; 16]), Arc::default());
        let client = open_client(&config, id, sink.clone(), &health).await;
        let client = client.unwrap();
        let map = open_server(&config, &health).await.unwrap().fleet();
        let profile = MemberProfile {
            node: "a".to_owned(),
            process: [0; 6],
            state: MemberState::Serving,
            shared: Vec::new(),
        };
        for _ in 0..100 {
            map.join(&profile).await.unwrap();
        }
        sleep(second / 2).await;
        assert_eq!(sink.0.load(SeqCst), 0);
        sleep(second).await;
        let heard = sink.0.swap(0, SeqCst);
        assert!((30..70).contains(&heard), "{heard}");

        map.join(&profile).await.unwrap();
        faults.cut();
        sleep(2 * second).await;
        assert_eq!(
            sink.0.load(SeqCst),
            0,
            "the notice would have come in the outage"
        );
        assert!(map.join(&profile).await.is_err());
        assert!(client.members().await.is_err());
        faults.calm();
        map.join(&profile).await.unwrap();
        sleep(second).await;
        assert_eq!(sink.0.load(SeqCst), 1);
    }
}
