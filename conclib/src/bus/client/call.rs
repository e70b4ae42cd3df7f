//! One request across the bus: built, sent when first polled, and awaited.

use std::borrow::Cow;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::client::ProxyClient;
use crate::bus::client::batch::InlineBatch;
use crate::bus::client::call_span::{CallKind, CallSpan};
use crate::bus::client::durable_call::{Delay, DurableCall, IdempotencyKey};
use crate::bus::client::request_log::RequestLog;
use crate::bus::client::retry::Retry;
use crate::bus::client::shared::{Outgoing, UNDATED};
use crate::bus::protocol::Kind;
use crate::deadlock::current::Current;
use crate::envelope::Attributes;
use crate::error::{AskError, Delivered};
use crate::message::{ActorMessage, WireCodec};
use crate::reply::ReplyReceiver;
use crate::reply::remote::Origin;
use crate::time::deadline::Deadline;
use crate::time::durations::Stopwatch;
use crate::urn::{Urn, UrnError};

/// A request that is among the client's pending ones.
pub(super) struct SentRequest {
    pub(super) id: u64,
    pub(super) receiver: ReplyReceiver<Bytes>,
    /// The request's batch, if its asker sends it.
    pub(super) inline: Option<InlineBatch>,
}

/// The builder and the future behind [`RemoteAsk`](crate::bus::RemoteAsk) and
/// [`RemoteTell`](crate::bus::RemoteTell).
pub(super) struct Call<M> {
    client: ProxyClient,
    urn: Result<Urn, UrnError>,
    /// The message's name on the wire.
    name: Cow<'static, str>,
    /// Present until the request has been encoded.
    message: Option<M>,
    timeout: Duration,
    attributes: Attributes,
    /// The absence of the actor ends the call as `ActorUnavailable`.
    missing_is_unavailable: bool,
    /// Present if the request is repeated after errors that allow it.
    retry: Option<Box<Retry>>,
    /// Present if the request is durable, or has settings that only a durable one may have.
    durable: Option<Box<DurableCall>>,
    /// Measures the time from the first poll on.
    stopwatch: Stopwatch,
    /// Until the request is sent: the latest end that the caller has set.
    deadline: Deadline,
    /// Present while the request is pending.
    sent: Option<SentRequest>,
    /// From the first attempt to the end, if traces continue across the bus.
    span: CallSpan,
}

impl<M: ActorMessage> Call<M> {
    pub(super) fn new(client: ProxyClient, urn: &str, message: M) -> Self {
        Self::named(client, urn, M::NAME.into(), message)
    }

    /// A call of a message by another name than that of its type.
    pub(super) fn named(
        client: ProxyClient,
        urn: &str,
        name: Cow<'static, str>,
        message: M,
    ) -> Self {
        Self {
            timeout: client.shared().timeout,
            client,
            urn: Urn::new(urn),
            name,
            message: Some(message),
            attributes: Attributes::new(),
            missing_is_unavailable: false,
            retry: None,
            durable: M::DURABLE.then(|| Box::new(DurableCall::generated())),
            stopwatch: Stopwatch::default(),
            deadline: Deadline::default(),
            sent: None,
            span: CallSpan::None,
        }
    }

    /// Limits the wait; once the request is under way, the wait is only shortened, counted from now.
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        if self.has_begun() {
            self.deadline.shorten(timeout);
        }
        self
    }

    /// Ends the wait at `latest` at the latest.
    pub(super) fn deadline(mut self, latest: Option<Instant>) -> Self {
        self.deadline.cut(latest);
        self
    }

    pub(super) fn attributes<K: Into<String>, V: Into<String>>(
        mut self,
        attributes: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.attributes.extend(attributes);
        self
    }

    /// Ends the call as `ActorUnavailable` if the actor is missing.
    pub(super) fn missing_is_unavailable(mut self) -> Self {
        self.missing_is_unavailable = true;
        self
    }

    /// Repeats the request after errors that allow it.
    pub(super) fn retry(mut self) -> Self {
        self.retry.get_or_insert_default();
        self
    }

    pub(super) fn durable(mut self) -> Self {
        let key = &mut self.durable.get_or_insert_default().key;
        key.get_or_insert(IdempotencyKey::Generated);
        self
    }

    pub(super) fn idempotency_key(mut self, key: String) -> Self {
        let durable = self.durable.get_or_insert_default();
        durable.key = Some(IdempotencyKey::Given(key));
        self
    }

    /// Makes the message durable, and delays its delivery.
    pub(super) fn delay(mut self, delay: Delay) -> Self {
        self = self.durable();
        self.durable.get_or_insert_default().delay = Some(delay);
        self
    }

    /// Limits the wait until the bus has stored the message; once the request is under way, the wait is
    /// only shortened, counted from now.
    pub(super) fn store_timeout(mut self, timeout: Duration) -> Self {
        let has_begun = self.has_begun();
        let durable = self.durable.get_or_insert_default();
        durable.store.limit(timeout, has_begun);
        self
    }

    /// True once the wait has begun: the request is under way, or pauses before a repetition.
    fn has_begun(&self) -> bool {
        self.message.is_none()
    }

    /// Sends the request when first polled, and decodes its answer; `decode` takes the URN and the name of
    /// the message as well.
    ///
    /// # Panics
    ///
    /// If polled after completion.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        kind: Kind,
        decode: impl FnOnce(&Bytes, &str, &str) -> Result<T, AskError>,
    ) -> Poll<Result<T, AskError>> {
        loop {
            if let Some(retry) = &mut self.retry {
                let end = latest_end(&self.deadline, self.durable.as_deref());
                ready!(retry.poll_pause(cx, end));
            }
            let (id, outcome) = match self.begin(kind) {
                Ok(id) => (Some(id), ready!(self.poll_sent(cx))),
                Err(error) => (None, Err(error)),
            };
            let outcome = match outcome {
                Err(error) if self.missing_is_unavailable => Err(error.missing_is_unavailable()),
                outcome => outcome,
            };
            let outcome = match outcome {
                Err(error) if self.begin_retry(&error) => {
                    self.client.shared().counters.record_retry();
                    self.log(id).failed(&error, M::SCHEMA);
                    continue;
                }
                Err(error) => Err(match &self.retry {
                    Some(retry) => retry.error(error),
                    None => error,
                }),
                outcome => outcome,
            };
            let urn = self.urn.as_ref().map_or("", Urn::as_str);
            let outcome = outcome.and_then(|contents| decode(&contents, urn, &self.name));
            let counters = &self.client.shared().counters;
            let what = (kind, self.durable.is_some());
            counters.record::<M, T>(what, self.stopwatch, &outcome);
            let span = mem::replace(&mut self.span, CallSpan::None);
            span.set_retries(self.retry.as_mut().map_or(0, |retry| retry.end()));
            match &outcome {
                Ok(_) => span.end(),
                Err(error) => {
                    span.end_failed(error, || self.log(id).failed(error, M::SCHEMA));
                }
            }
            return Poll::Ready(outcome);
        }
    }

    /// Begins the pause before a repetition, if the call has any, and its error allows one.
    fn begin_retry(&mut self, error: &AskError) -> bool {
        let Some(retry) = &mut self.retry else {
            return false;
        };
        let end = latest_end(&self.deadline, self.durable.as_deref());
        retry.begin(error, self.durable.is_some(), end)
    }

    /// Sends the request, unless it is under way; returns its number.
    fn begin(&mut self, kind: Kind) -> Result<u64, AskError> {
        if let Some(sent) = &self.sent {
            return Ok(sent.id);
        }
        self.begin_span(kind);
        let sent = self.send(kind)?;
        let id = sent.id;
        self.log(Some(id)).sending();
        self.sent = Some(sent);
        Ok(id)
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, AskError>> {
        let Some(sent) = &mut self.sent else {
            unreachable!("the request was just sent");
        };
        if let Some(inline) = &mut sent.inline
            && inline.poll(cx).is_ready()
        {
            sent.inline = None;
        }
        let id = sent.id;
        if let Poll::Ready(outcome) = self.poll_receiver(cx) {
            return Poll::Ready(outcome);
        }
        let Some(error) = ready!(self.poll_timeouts(cx, id)) else {
            // The answer has come between the two polls: it counts, and not the timeout.
            return self.poll_receiver(cx);
        };
        self.sent = None;
        Poll::Ready(Err(error))
    }

    /// Polls for the answer; pending if the request is not under way.
    fn poll_receiver(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, AskError>> {
        let Some(sent) = &mut self.sent else {
            return Poll::Pending;
        };
        let outcome = ready!(Pin::new(&mut sent.receiver).poll(cx));
        self.sent = None;
        Poll::Ready(outcome)
    }

    /// Ready when a timeout has passed, with its error; with `None` if the request has ended meanwhile.
    fn poll_timeouts(&mut self, cx: &mut Context<'_>, id: u64) -> Poll<Option<AskError>> {
        let shared = self.client.shared();
        if let Some(durable) = &mut self.durable
            && durable.store.poll(cx).is_ready()
        {
            let mut pending = shared.pending();
            if !pending.is_stored(id) {
                let given_up = pending.give_up(id);
                drop(pending);
                let error = |delivered| durable.store.error(delivered, shared.health.problem());
                return Poll::Ready(given_up.map(error));
            }
            drop(pending);
            durable.store.end();
        }
        let look = || (shared.signs(), shared.pending().is_stored(id));
        let is_lost = match &mut self.retry {
            Some(retry) if self.durable.is_some() => retry.poll_lost_answer(cx, look).is_ready(),
            _ => false,
        };
        if !is_lost {
            ready!(self.deadline.poll(cx));
        }
        let mut pending = shared.pending();
        let is_held = pending.is_held(id);
        let given_up = pending.give_up(id);
        Poll::Ready(given_up.map(|delivered| {
            if is_held {
                AskError::NoResponder // no member has taken it
            } else {
                AskError::Timeout { delivered }
            }
        }))
    }

    /// Begins the span of the call, unless it has begun or traces end at the bus.
    #[inline]
    fn begin_span(&mut self, kind: Kind) {
        if let Some(propagator) = &self.client.shared().propagator {
            let call = CallKind {
                kind,
                is_durable: self.durable.is_some(),
                urn: self.urn.as_ref().map_or("", Urn::as_str),
                message_name: &self.name,
            };
            self.span.begin(&**propagator, &call, &mut self.attributes);
        }
    }

    fn send(&mut self, kind: Kind) -> Result<SentRequest, AskError> {
        let contents = self.contents()?;
        self.inject_trace(contents.len());
        let urn = self.urn.as_ref().map_err(|error| AskError::InvalidUrn {
            reason: error.to_string(),
        })?;
        let Some(deadline) = self.deadline.at() else {
            return Err(AskError::BadRequest {
                reason: format!("{:?} is too long for a timeout", self.timeout),
            });
        };
        if deadline <= Instant::now() {
            return Err(AskError::Timeout {
                delivered: Delivered::No,
            });
        }
        let request = Outgoing {
            kind,
            urn: urn.as_str(),
            message: &self.name,
            deadline,
            attributes: &self.attributes,
            is_direct: self.client.target_is_node(),
            is_left_out: self.span.is_left_out(),
            contents,
        };
        let shared = self.client.shared();
        match &mut self.durable {
            None => self.client.send(urn, request),
            Some(_) if shared.is_in_fleet => Err(AskError::BadRequest {
                reason:
                    "durable messages do not go to a fleet yet: give the process that handles them \
                         a node of its own (`Config::node`), and ask it by a client for that node"
                        .to_owned(),
            }),
            Some(_) if self.client.target_is_node() => Err(AskError::BadRequest {
                reason: "durable messages go to the node of the config, and not to another one"
                    .to_owned(),
            }),
            Some(durable) => {
                let mut store = durable.begin(deadline, M::RETRY)?;
                if let Some(retry) = &mut self.retry {
                    store.is_repetition = retry.is_repetition();
                    retry.watch_answer(|repetition| shared.watch_answer(repetition));
                }
                shared.send_durable(request, store)
            }
        }
    }
}

impl<M: ActorMessage> Call<M> {
    /// The encoded message. The wait begins when it is encoded.
    fn contents(&mut self) -> Result<Vec<u8>, AskError> {
        let Some(message) = self.message.take() else {
            let encoded = self.retry.as_ref().and_then(|retry| retry.contents.clone());
            return Ok(
                encoded.unwrap_or_else(|| panic!("`{}` was polled after completion", self.name))
            );
        };
        self.stopwatch.begin();
        let latest = self.deadline.at();
        self.deadline.start(Some(self.timeout));
        self.deadline.cut(latest);
        self.deadline.cut(Current::deadline());
        let contents = codec::<M>()?
            .encode(&message)
            .map_err(|error| AskError::BadRequest {
                reason: error.to_string(),
            })?;
        if let Some(retry) = &mut self.retry {
            retry.contents = Some(contents.clone());
        }
        Ok(contents)
    }
}

impl<M> Call<M> {
    /// Adds the context of the call's span to the attributes, if there is room for it beside contents of
    /// this size. A repetition has that of the first attempt.
    #[inline]
    fn inject_trace(&mut self, contents: usize) {
        let shared = self.client.shared();
        if let Some(propagator) = &shared.propagator {
            let limit = self.client.link().map_or(0, |link| shared.limit(link));
            let room = limit.saturating_sub(contents);
            self.span.inject(&**propagator, &mut self.attributes, room);
        }
    }

    /// The number of repetitions so far.
    fn retries(&self) -> u32 {
        self.retry.as_ref().map_or(0, |retry| retry.count())
    }

    /// The request with this number, for the log.
    fn log(&self, id: Option<u64>) -> RequestLog<'_> {
        let client = self.client.shared().id;
        RequestLog {
            origin: id.map(|id| Origin { client, id }),
            urn: self.urn.as_ref().map_or("", Urn::as_str),
            message_name: &self.name,
        }
    }
}

impl ProxyClient {
    /// Enters a request into the pending ones, and queues it for its node.
    fn send(&self, urn: &Urn, request: Outgoing<'_>) -> Result<SentRequest, AskError> {
        let shared = self.shared();
        let link = self.link()?;
        let kind = request.kind;
        let (mut frame, size) = shared.frame(link, &request)?;
        let mut pending = shared.pending();
        frame.origin.id = pending.reserve_id(size)?;
        if let Some(reason) = shared.health.problem() {
            return Err(AskError::Unavailable { reason });
        }
        if frame.deadline == UNDATED {
            // A lazy client was connected after the deadline had been computed.
            let reason = "the first connection was made just now".to_owned();
            return Err(AskError::Unavailable { reason });
        }
        if let Some(retry_after) = link.backpressure.retry_after() {
            return Err(AskError::Overloaded { retry_after });
        }
        // Encoded under the lock, so that the queue has requests in the order of their ids.
        let id = frame.origin.id;
        let encoded = frame.encode_into(request.contents, pending.buffer());
        let routed;
        let (receiver, link) = if shared.is_in_fleet && !self.target_is_node() {
            let (receiver, link) = pending.insert_routed(id, urn, (encoded, size), kind)?;
            routed = link;
            (receiver, routed.as_ref())
        } else {
            let other = Some(link).filter(|link| !Arc::ptr_eq(link, &shared.link));
            let receiver = pending.insert(id, other, (encoded, size), kind);
            (receiver, Some(link))
        };
        let inline = link.and_then(|link| {
            let is_own = Arc::ptr_eq(link, &shared.link);
            let own = if is_own { pending.own_node() } else { 0 };
            let is_alone = own + link.in_flight() == 1;
            let batch = link.queue.push(id, is_alone, &pending)?;
            Some((link, batch))
        });
        drop(pending);
        Ok(SentRequest {
            id,
            receiver,
            inline: inline.map(|(link, batch)| InlineBatch::new(shared, link, batch)),
        })
    }
}

impl<M> Drop for Call<M> {
    fn drop(&mut self) {
        self.span.set_retries(self.retries());
        let is_pausing = self.retry.as_ref().is_some_and(|retry| retry.is_pausing());
        if let (Some(sent), Some(deadline)) = (&self.sent, self.deadline.at()) {
            self.client.shared().counters.record_abandoned();
            self.span.end_dropped(|| self.log(Some(sent.id)).dropped());
            self.client.shared().abandon(sent.id, deadline);
        } else if is_pausing {
            self.client.shared().counters.record_abandoned();
            self.span.end_dropped(|| self.log(None).dropped());
        } else if self.span.is_there() {
            self.span.end_dropped(|| ());
        }
    }
}

/// The moment after which a call sends nothing more.
fn latest_end(deadline: &Deadline, durable: Option<&DurableCall>) -> Option<Instant> {
    let store = durable.and_then(|call| call.store.deadline());
    [deadline.at(), store].into_iter().flatten().min()
}

/// The codec of a message. [`ProxyClient::ask`] takes only messages that have one. That this module
/// asks for no more than a message, and for no trait bound, keeps the compiler from reporting a wrong
/// type at each step of a call.
pub(super) fn codec<M: ActorMessage>() -> Result<WireCodec<M>, AskError> {
    M::WIRE.ok_or_else(|| AskError::BadRequest {
        reason: format!("`{}` stays in its process", M::NAME),
    })
}
