//! The answers on their way to each client, so that large ones do not overrun it. No I/O.
//!
//! Redis keeps what a subscriber has not read yet, and cuts its connection when that becomes too much
//! (`client-output-buffer-limit pubsub 32mb 8mb 60`). So a client confirms the bytes of large frames as
//! they come in, and the others wait here until it does.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::protocol::{CONFIRM_BYTES, LARGE_REPLY};
use crate::bus::server::publisher::WaitingAnswer;
use crate::reply::remote::ClientId;

/// Bytes of large frames that may be unconfirmed when one more is published. With the largest frame
/// that is no more than Redis lets wait for a minute.
const MAX_UNCONFIRMED: usize = 4 * 1024 * 1024;

/// Time after which frames count as received that are not confirmed: the client may have lost them
/// with its connection.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of clients beyond which those that have received everything are forgotten.
const KEPT_CLIENTS: usize = 256;

/// The large frames of each client.
#[derive(Default)]
pub(super) struct ReplyFlow {
    clients: HashMap<ClientId, ClientFlow>,
}

struct ClientFlow {
    unconfirmed: usize,
    /// The moment of the last frame or confirmation.
    since: Instant,
    /// Answers that wait until frames before them are confirmed.
    held: Vec<WaitingAnswer>,
    held_bytes: usize,
}

impl ClientFlow {
    fn has_room(&self, now: Instant) -> bool {
        self.unconfirmed < MAX_UNCONFIRMED || self.is_overdue(now)
    }

    fn release(&mut self) -> Vec<WaitingAnswer> {
        self.held_bytes = 0;
        mem::take(&mut self.held)
    }

    fn is_overdue(&self, now: Instant) -> bool {
        now >= self.since + CONFIRM_TIMEOUT
    }
}

impl ReplyFlow {
    /// Notes a frame of that size, if the client may receive one now. The answers behind it are to be
    /// [held](Self::hold) otherwise.
    pub(super) fn try_publish(&mut self, client: ClientId, bytes: usize, now: Instant) -> bool {
        let is_large = bytes >= LARGE_REPLY;
        if !is_large && !self.clients.contains_key(&client) {
            return true; // nearly always
        }
        if self.clients.len() >= KEPT_CLIENTS {
            self.clients
                .retain(|_, flow| !flow.held.is_empty() || !flow.is_overdue(now));
        }
        let flow = self.clients.entry(client).or_insert(ClientFlow {
            unconfirmed: 0,
            since: now,
            held: Vec::new(),
            held_bytes: 0,
        });
        // Answers stay in their order.
        if !flow.held.is_empty() || !flow.has_room(now) {
            return false;
        }
        if is_large {
            if flow.is_overdue(now) {
                flow.unconfirmed = 0;
            }
            flow.unconfirmed += bytes;
            flow.since = now;
        }
        true
    }

    /// Corrects the size of a frame once it is encoded: the client confirms what it receives.
    pub(super) fn correct(&mut self, client: ClientId, estimate: usize, encoded: usize) {
        let counts = |bytes| if bytes >= LARGE_REPLY { bytes } else { 0 };
        if let Some(flow) = self.clients.get_mut(&client) {
            let counted = flow.unconfirmed + counts(encoded);
            flow.unconfirmed = counted.saturating_sub(counts(estimate));
        }
    }

    /// The size of a client's answers that are held.
    pub(super) fn held_bytes(&self, client: ClientId) -> usize {
        self.clients.get(&client).map_or(0, |flow| flow.held_bytes)
    }

    /// Keeps answers until the client has confirmed the frames before them.
    pub(super) fn hold(&mut self, client: ClientId, answers: Vec<WaitingAnswer>) {
        if let Some(flow) = self.clients.get_mut(&client) {
            flow.held_bytes += answers
                .iter()
                .map(|waiting| waiting.answer.size())
                .sum::<usize>();
            flow.held.extend(answers);
        }
    }

    /// Notes that the client has received so many bytes; returns the answers that may be published now.
    pub(super) fn confirm(
        &mut self,
        client: ClientId,
        bytes: usize,
        now: Instant,
    ) -> Vec<WaitingAnswer> {
        let Some(flow) = self.clients.get_mut(&client) else {
            return Vec::new();
        };
        flow.unconfirmed = flow.unconfirmed.saturating_sub(bytes);
        if bytes >= CONFIRM_BYTES {
            flow.since = now; // less is no sign of a client that reads on
        }
        if flow.has_room(now) {
            flow.release()
        } else {
            Vec::new()
        }
    }

    /// Drops the held answers whose deadlines have passed; returns their size.
    pub(super) fn drop_expired(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        for flow in self.clients.values_mut() {
            let before = flow.held_bytes;
            flow.held.retain(|waiting| waiting.deadline > now);
            let held = flow.held.iter().map(|waiting| waiting.answer.size());
            flow.held_bytes = held.sum();
            dropped += before - flow.held_bytes;
        }
        dropped
    }

    /// The answers whose clients have confirmed nothing for too long.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(ClientId, Vec<WaitingAnswer>)> {
        let overdue = self.clients.iter_mut();
        overdue
            .filter(|(_, flow)| !flow.held.is_empty() && flow.is_overdue(now))
            .map(|(client, flow)| {
                flow.unconfirmed = 0;
                (*client, flow.release())
            })
            .collect()
    }

    /// The moment at which the first held answers are [overdue](Self::overdue).
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        let held = self.clients.values().filter(|flow| !flow.held.is_empty());
        held.map(|flow| flow.since + CONFIRM_TIMEOUT).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::protocol::Answer;

    const MIB: usize = 1024 * 1024;
    const CLIENT: ClientId = ClientId([7; 16]);

    fn answers(count: u64, now: Instant) -> Vec<WaitingAnswer> {
        let answer = |id| WaitingAnswer {
            answer: Answer::new(id, Ok(Vec::new())),
            deadline: now,
        };
        (0..count).map(answer).collect()
    }

    #[test]
    fn large_frames_wait_for_confirmations() {
        let now = Instant::now();
        let mut flow = ReplyFlow::default();
        for _ in 0..4 {
            assert!(flow.try_publish(CLIENT, MIB, now));
        }
        assert!(!flow.try_publish(CLIENT, MIB, now));
        flow.hold(CLIENT, answers(3, now));
        assert!(!flow.try_publish(CLIENT, 10, now), "answers stay in order");
        assert!(flow.try_publish(ClientId([8; 16]), MIB, now));
        assert!(flow.confirm(ClientId([9; 16]), MIB, now).is_empty());
        assert_eq!(flow.confirm(CLIENT, MIB, now).len(), 3);
        assert!(flow.try_publish(CLIENT, MIB, now));
        assert!(!flow.try_publish(CLIENT, MIB, now));
    }

    #[test]
    fn confirmations_of_a_few_bytes_hold_nothing_back() {
        let now = Instant::now();
        let mut flow = ReplyFlow::default();
        assert!(flow.try_publish(CLIENT, 100 * MIB, now));
        assert!(!flow.try_publish(CLIENT, MIB, now));
        flow.hold(CLIENT, answers(3, now));
        let later = now + CONFIRM_TIMEOUT / 2;
        assert!(flow.confirm(CLIENT, 1, later).is_empty());
        assert_eq!(flow.next_overdue(), Some(now + CONFIRM_TIMEOUT));
        assert!(flow.confirm(CLIENT, MIB, later).is_empty());
        assert_eq!(flow.next_overdue(), Some(later + CONFIRM_TIMEOUT));
        // Nobody waits for them any more.
        let held = flow.held_bytes(CLIENT);
        assert_eq!(flow.drop_expired(later), held);
        assert_eq!((flow.held_bytes(CLIENT), flow.next_overdue()), (0, None));
    }

    #[test]
    fn frames_count_as_the_client_receives_them() {
        let now = Instant::now();
        let mut flow = ReplyFlow::default();
        for (estimate, encoded) in [(MIB, MIB / 2), (MIB, LARGE_REPLY - 1), (100, 100)] {
            assert!(flow.try_publish(CLIENT, estimate, now));
            flow.correct(CLIENT, estimate, encoded);
        }
        assert_eq!(flow.clients[&CLIENT].unconfirmed, MIB / 2);
        flow.confirm(CLIENT, MIB / 2, now);
        assert_eq!(flow.clients[&CLIENT].unconfirmed, 0);
    }

    #[test]
    fn client_that_confirms_nothing_is_served_all_the_same() {
        let now = Instant::now();
        let mut flow = ReplyFlow::default();
        assert!(flow.try_publish(CLIENT, 100 * MIB, now), "the first one");
        assert!(!flow.try_publish(CLIENT, 10, now));
        flow.hold(CLIENT, answers(2, now));
        let later = flow.next_overdue().unwrap();
        assert!(flow.overdue(later - Duration::from_millis(1)).is_empty());
        assert_eq!(flow.overdue(later)[0].1.len(), 2);
        assert_eq!(flow.next_overdue(), None);
        assert!(flow.try_publish(CLIENT, MIB, later));
    }

    #[test]
    fn small_frames_and_clients_at_rest_take_no_memory() {
        let now = Instant::now();
        let mut flow = ReplyFlow::default();
        let client = |number: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            ClientId(id)
        };
        for number in 0..10_000 {
            assert!(flow.try_publish(client(number), LARGE_REPLY - 1, now));
        }
        assert!(flow.clients.is_empty());
        for number in 0..10_000_u32 {
            let later = now + CONFIRM_TIMEOUT * (number / 100);
            assert!(flow.try_publish(client(number as usize), MIB, later));
        }
        assert!(flow.clients.len() <= KEPT_CLIENTS + 100);
    }
}
