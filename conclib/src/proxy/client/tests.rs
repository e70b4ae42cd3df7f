//! A client over a bus that does what a test says.

use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;

use super::*;
use crate::message::{ActorMessage, WireCodec};
use crate::proxy::transport::{Enqueued, Epoch, TransportError};

/// Takes a batch, and never says that it has.
struct Stalled;

#[async_trait]
impl ClientTransport for Stalled {
    async fn lease(&self) -> Result<(Option<Lease>, BusTime), TransportError> {
        let lease = Lease {
            epoch: Epoch(1),
            versions: (1, 1),
            max_frame: 1 << 20,
        };
        Ok((Some(lease), BusTime(1)))
    }

    async fn enqueue(&self, _: Epoch, _: Vec<Bytes>) -> Result<Enqueued, TransportError> {
        pending().await
    }

    async fn close(&self) {}
}

struct Nothing;

impl ActorMessage for Nothing {
    type Response = ();
    const NAME: &'static str = "Nothing";
    const WIRE: Option<WireCodec<Self>> = Some(Self::CODEC);
}

impl RemoteMessage for Nothing {
    const CODEC: WireCodec<Self> = WireCodec {
        encode: |_| Ok(Vec::new()),
        decode: |_| Ok(Self),
        encode_response: |()| Ok(Vec::new()),
        decode_response: |_| Ok(()),
    };
}

#[tokio::test]
async fn impatient_askers_do_not_fill_the_outbox_of_a_slow_bus() {
    let (_sender, replies) = mpsc::channel(1);
    let end: ClientEnd = (Arc::new(Stalled), replies);
    let config = Config::memory();
    let client = ProxyClient::over(end, &config, ClientId([1; 16]), u64::MAX - 5)
        .await
        .unwrap();
    let mut first = pin!(client.ask("somebody", Nothing));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    tokio::task::yield_now().await; // the batch is under way, and stays so
    for _ in 0..5 * MAX_REQUESTS {
        let ask = pin!(client.ask("somebody", Nothing));
        assert!(ask.poll(&mut cx).is_pending());
    }
    assert_eq!(client.in_flight(), 1);
    assert!(client.shared().outbox.len() <= 2 * MAX_REQUESTS);
    client.shutdown().await;
    assert_eq!(
        first.as_mut().poll(&mut cx),
        Poll::Ready(Err(AskError::Closed))
    );
}
