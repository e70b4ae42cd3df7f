//! One suite, run for each bus: the guarantees that the modules above rely on.

mod durable;
mod fleet;
#[cfg(feature = "redis")]
mod fleet_on_redis;
mod leases;
mod names;
#[cfg(feature = "redis")]
mod on_redis;
mod operators;
#[cfg(feature = "redis")]
mod redis_server;
mod replies;
mod requests;
mod views;

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant as WallInstant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout};

use crate::bus::config::Config;
use crate::bus::keys::Keys;
use crate::bus::open::{self, ConnectError, open_server};
use crate::bus::transport::{
    Acquired, Backlog, ClientTransport, Copies, Enqueued, Epoch, FormerTerm, Frame, LEASE,
    LeaseClaim, LeaseGrant, LeaseHolder, LeaseRecord, Lists, Popped, ReplySink, ServerTime,
    ServerTransport, TransportError,
};
use crate::reply::remote::ClientId;
#[cfg(feature = "redis")]
use redis_server::TestRedis;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(5);

/// A bus of one test.
#[async_trait]
trait TestBus {
    fn config(&self) -> Config;

    /// Ages the lease until only `left` remains.
    async fn age_lease(&self, left: Duration);
}

/// A bus in memory. Time is paused: it advances while every task waits.
struct InMemory(Config);

#[cfg(feature = "redis")]
struct OnRedis(TestRedis);

#[async_trait]
impl TestBus for InMemory {
    fn config(&self) -> Config {
        self.0.clone()
    }

    async fn age_lease(&self, left: Duration) {
        sleep(LEASE.saturating_sub(left)).await;
    }
}

#[cfg(feature = "redis")]
#[async_trait]
impl TestBus for OnRedis {
    fn config(&self) -> Config {
        self.0.config()
    }

    async fn age_lease(&self, left: Duration) {
        let lease = self.config().keys().lease();
        let left = left.as_millis().to_string();
        assert_eq!(self.0.command(&["PEXPIRE", &lease, &left]), ":1");
    }
}

macro_rules! for_each_bus {
    ($($area:ident { $($case:ident)* })*) => {
        mod memory {
            $($(#[tokio::test(start_paused = true)]
            async fn $case() {
                super::$area::$case(&super::InMemory(super::Config::memory())).await;
            })*)*
        }

        // The layer of faults changes no behaviour while it injects none.
        #[cfg(feature = "test-util")]
        mod faulty {
            $($(#[tokio::test(start_paused = true)]
            async fn $case() {
                let config = super::Config::memory().faults(crate::test::Faults::seeded(7));
                super::$area::$case(&super::InMemory(config)).await;
            })*)*
        }

        #[cfg(feature = "redis")]
        mod redis {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$area::$case(&super::OnRedis(super::TestRedis::start(&[]))).await;
            })*)*
        }
    };
}

for_each_bus! {
    leases {
        lease_has_one_holder
        lease_is_shown_to_clients_when_its_owner_serves
        closed_lease_is_held_and_hidden_from_clients
        younger_process_of_an_instance_takes_the_lease
        grant_names_the_former_term
        lease_that_another_has_had_is_not_taken_again
        own_lease_is_taken_over
        lease_expires_and_epochs_rise
        renewal_prolongs_the_lease
        only_the_holder_renews_and_releases
        former_inbox_lives_until_the_first_renewal
        pop_returns_the_owner_of_the_lease
        close_wakes_a_blocked_pop
        namespaces_and_nodes_are_separate
    }
    requests {
        batches_keep_their_order
        batch_reports_length_lease_and_time
        batch_without_a_lease_is_reported
        pop_takes_no_more_than_its_count
        pop_waits_for_the_first
        pop_times_out_empty
        pops_take_turns
        closed_server_refuses_calls
    }
    operators {
        lists_of_operators_come_before_the_inbox
        rest_of_a_list_is_popped_along_with_the_inbox
        waiting_pop_hears_of_an_operator
        operator_sees_the_lease
    }
    replies {
        publish_counts_its_receivers
        reply_right_after_opening_arrives
        ten_megabytes_of_replies_arrive
        bytes_arrive_unchanged
        replies_beyond_the_capacity_are_dropped
        closing_a_client_ends_its_replies
    }
    durable {
        entries_wait_for_a_consumer_in_their_order
        read_waits_for_the_first_entry
        unacknowledged_entries_are_due
        foreign_claims_are_listed_and_left_alone
        claims_of_the_same_instance_are_its_successors
        claims_set_the_attempts
        releases_set_the_attempts
        acknowledged_entries_are_removed_and_their_results_cached
        backlog_is_counted
        dead_letters_are_listed_replayed_and_deleted
        options_stay_with_an_entry
        delayed_entries_leave_the_stream_until_they_are_due
        nodes_have_separate_streams
        entries_are_acknowledged_after_reading_has_stopped
    }
    fleet {
        numbers_of_members_and_versions_rise
        heartbeats_are_counted
        member_of_the_same_node_is_replaced
        removed_member_is_told_so
        only_a_member_whose_heartbeats_stand_still_is_removed
        too_large_calls_are_refused
        clients_see_members
        clients_hear_of_changes
        namespaces_have_separate_fleets
        closed_server_refuses_calls_of_its_map
        only_a_node_without_a_lease_is_forgotten
    }
    names {
        name_has_one_member
        waiting_members_are_told_of_freed_names
        names_of_members_that_left_or_are_gone_are_given
        sweep_frees_names_of_no_member
        sweep_is_noted_unless_a_member_was_removed_since
        many_names_are_listed_in_batches
    }
    views {
        view_has_the_lease_and_the_inbox
        view_has_a_lease_before_it_is_served
        view_counts_durable_messages
        view_has_the_members
    }
}

fn claim() -> LeaseClaim {
    LeaseClaim {
        versions: (1, 2),
        max_frame: 4 << 20,
        length: LEASE,
        serves: true,
        instance: String::new(),
        age: None,
        before: None,
    }
}

fn lease(epoch: Epoch) -> LeaseRecord {
    let claim = claim();
    LeaseRecord {
        epoch,
        versions: claim.versions,
        max_frame: claim.max_frame,
        length: claim.length,
        serves: claim.serves,
    }
}

async fn server(bus: &dyn TestBus) -> Arc<dyn ServerTransport> {
    open_server(&bus.config(), &Arc::default()).await.unwrap()
}

/// A client's end of the bus, for the node of its config.
#[derive(Clone)]
struct NodeClient {
    transport: Arc<dyn ClientTransport>,
    node: Keys,
}

impl NodeClient {
    async fn lease(&self) -> Result<(Option<LeaseRecord>, ServerTime), TransportError> {
        self.transport.lease(&self.node).await
    }

    async fn enqueue(&self, epoch: Epoch, frames: Vec<Frame>) -> Result<Enqueued, TransportError> {
        self.transport.enqueue(&self.node, epoch, frames).await
    }

    async fn take_back(&self, epoch: Epoch, frames: Vec<Frame>) {
        let taken = self
            .transport
            .take_back(&self.node, epoch, frames, Copies::Any);
        taken.await.unwrap();
    }
}

impl Deref for NodeClient {
    type Target = dyn ClientTransport;

    fn deref(&self) -> &Self::Target {
        &*self.transport
    }
}

/// A client and the receiver of its replies, which drops replies beyond its capacity.
type ClientEnd = (NodeClient, Receiver<Bytes>);

impl ReplySink for Sender<Bytes> {
    fn receive(&self, frame: Bytes) {
        drop(self.try_send(frame));
    }
}

async fn open_client(
    config: &Config,
    client: ClientId,
    capacity: usize,
) -> Result<ClientEnd, ConnectError> {
    let (sender, receiver) = channel(capacity);
    let transport = open::open_client(config, client, Arc::new(sender), &Arc::default()).await?;
    let node = config.keys();
    Ok((NodeClient { transport, node }, receiver))
}

async fn client(bus: &dyn TestBus) -> ClientEnd {
    open_client(&bus.config(), id(1), 64).await.unwrap()
}

fn id(number: u8) -> ClientId {
    ClientId([number; 16])
}

async fn granted(server: &dyn ServerTransport) -> Epoch {
    grant(server, &claim()).await.epoch
}

/// Announces that the owner of the lease takes no more requests.
async fn close(
    server: &dyn ServerTransport,
    epoch: Epoch,
    wake: &'static str,
) -> Result<bool, TransportError> {
    let claim = LeaseClaim {
        serves: false,
        ..claim()
    };
    let wake = Bytes::from_static(wake.as_bytes());
    server.stop_serving(epoch, &claim, wake).await
}

async fn grant(server: &dyn ServerTransport, claim: &LeaseClaim) -> LeaseGrant {
    match server.acquire(claim).await.unwrap() {
        Acquired::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

fn batch(texts: &[&str]) -> Vec<Bytes> {
    texts
        .iter()
        .map(|text| Bytes::copy_from_slice(text.as_bytes()))
        .collect()
}

/// The same texts as frames to be sent.
fn frames(texts: &[&str]) -> Vec<Frame> {
    batch(texts).into_iter().map(Frame::from).collect()
}

/// Pops frames, and ignores the owner of the lease.
async fn pop_within(
    server: &dyn ServerTransport,
    epoch: Epoch,
    count: u32,
    block: Duration,
) -> Result<Vec<Bytes>, TransportError> {
    let popped = server.pop(epoch, Lists::All, count, block).await?;
    Ok(popped.frames)
}

async fn pop(server: &dyn ServerTransport, epoch: Epoch, count: u32) -> Vec<Bytes> {
    pop_within(server, epoch, count, Duration::ZERO)
        .await
        .unwrap()
}

async fn reply(replies: &mut Receiver<Bytes>) -> Option<Bytes> {
    timeout(LONG, replies.recv())
        .await
        .expect("a reply, or the end")
}

fn is_near(now: ServerTime) -> bool {
    let wall = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u128::from(now.0).abs_diff(wall.as_millis()) < 60_000
}
