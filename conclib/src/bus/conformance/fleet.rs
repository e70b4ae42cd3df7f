//! The map of a fleet: members, heartbeats, and what clients see of them.

use super::*;
use crate::bus::transport::fleet::{
    FleetMap, Heartbeats, MapVersion, Member, MemberId, MemberProfile, MemberState, Members,
};
use crate::urn::Urn;

pub(super) async fn map(bus: &dyn TestBus) -> Arc<dyn FleetMap> {
    server(bus).await.fleet()
}

pub(super) async fn fleet_client(bus: &dyn TestBus) -> ClientEnd {
    open_client(&bus.config().fleet(), id(1), 64).await.unwrap()
}

pub(super) fn profile(node: &str) -> MemberProfile {
    MemberProfile {
        node: node.to_owned(),
        process: [1, 2, 3, 4, 5, 255],
        state: MemberState::Serving,
        shared: vec![urn("shared"), urn("größe")],
    }
}

pub(super) fn in_state(node: &str, state: MemberState) -> MemberProfile {
    MemberProfile {
        state,
        ..profile(node)
    }
}

pub(super) fn urn(name: &str) -> Urn {
    name.parse().unwrap()
}

pub(super) async fn joined(map: &dyn FleetMap, node: &str) -> MemberId {
    map.join(&profile(node)).await.unwrap()
}

/// Removes a member that is there.
pub(super) async fn removed(map: &dyn FleetMap, id: MemberId) {
    let last = heartbeats(map, id).await.unwrap();
    assert_eq!(map.remove(id, last).await, Ok(true));
}

async fn heartbeats(map: &dyn FleetMap, id: MemberId) -> Option<Heartbeats> {
    let counters = map.counters().await.unwrap();
    let mut all = counters.heartbeats.into_iter();
    all.find_map(|(member, count)| (member == id).then_some(count))
}

async fn version(map: &dyn FleetMap) -> MapVersion {
    map.counters().await.unwrap().version
}

pub(super) async fn numbers_of_members_and_versions_rise(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (mut last, mut before) = (MemberId(0), version(&*map).await);
    assert_eq!(before, MapVersion(0));
    assert_eq!(map.members().await, Ok(Members::default()));
    for number in 0..20 {
        let member = joined(&*map, &format!("n{number}")).await;
        assert!(member > last && is_near(ServerTime(member.0)));
        let after = version(&*map).await;
        assert!(after > before && is_near(ServerTime(after.0)));
        (last, before) = (member, after);
        if number % 2 == 0 {
            removed(&*map, member).await;
            assert!(version(&*map).await > before);
            before = version(&*map).await;
        }
    }
    let listing = in_state("n19", MemberState::Listing);
    assert_eq!(map.announce(last, &listing).await, Ok(true));
    assert!(version(&*map).await > before);
    let members = map.members().await.unwrap();
    assert_eq!(members.version, version(&*map).await);
    let nodes = members.all.iter().map(|member| &*member.profile.node);
    let nodes: Vec<_> = nodes.collect();
    let odd: Vec<_> = (0..10)
        .map(|number| format!("n{}", 2 * number + 1))
        .collect();
    assert_eq!(nodes, odd);
    assert_eq!(members.all.last().unwrap().profile, listing);
}

pub(super) async fn heartbeats_are_counted(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (one, other) = (joined(&*map, "a").await, joined(&*map, "b").await);
    let before = version(&*map).await;
    for count in 2..6 {
        let counters = map.heartbeat(one).await.unwrap().unwrap();
        assert_eq!(
            (counters.version, counters.freed, counters.unswept_since),
            (before, 0, MapVersion(0))
        );
        assert!(!counters.server.0.is_empty());
        assert_eq!(map.counters().await, Ok(counters.clone()));
        let mut all = counters.heartbeats;
        all.sort_unstable();
        assert_eq!(all, [(one, Heartbeats(count)), (other, Heartbeats(1))]);
    }
}

pub(super) async fn member_of_the_same_node_is_replaced(bus: &dyn TestBus) {
    let (map, other_map) = (map(bus).await, map(bus).await);
    let old = joined(&*map, "a").await;
    let neighbour = joined(&*map, "a2").await;
    map.list(old, &[urn("ledger")]).await.unwrap();
    assert_eq!(map.counters().await.unwrap().unswept_since, MapVersion(0));
    let new = joined(&*other_map, "a").await;
    assert!(new > neighbour);
    let counters = map.counters().await.unwrap();
    assert_eq!(
        counters.unswept_since, counters.version,
        "it may have left names"
    );
    let members = map.members().await.unwrap();
    let ids: Vec<_> = members.all.iter().map(|member| member.id).collect();
    assert_eq!(ids, [neighbour, new]);
    assert_eq!(map.heartbeat(old).await, Ok(None));
    assert!(map.heartbeat(new).await.unwrap().is_some());
    assert_eq!(map.unlist(old, &[urn("ledger")]).await, Ok(()));
}

pub(super) async fn removed_member_is_told_so(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (gone, never) = (joined(&*map, "a").await, MemberId(7));
    removed(&*map, gone).await;
    for id in [gone, never] {
        assert_eq!(map.heartbeat(id).await, Ok(None));
        assert_eq!(map.announce(id, &profile("a")).await, Ok(false));
        assert_eq!(map.list(id, &[urn("ledger")]).await, Ok(None));
        assert_eq!(map.remove(id, Heartbeats(0)).await, Ok(false));
        assert_eq!(map.unlist(id, &[urn("ledger")]).await, Ok(()));
    }
    assert_eq!(map.members().await.unwrap().all, []);
    assert!(joined(&*map, "a").await > gone);
}

pub(super) async fn only_a_member_whose_heartbeats_stand_still_is_removed(bus: &dyn TestBus) {
    let (map, watcher) = (map(bus).await, map(bus).await);
    let id = joined(&*map, "a").await;
    let seen = heartbeats(&*watcher, id).await.unwrap();
    map.heartbeat(id).await.unwrap();
    assert_eq!(watcher.remove(id, seen).await, Ok(false));
    assert_eq!(watcher.remove(id, Heartbeats(seen.0 + 9)).await, Ok(false));
    let before = version(&*map).await;
    let seen = heartbeats(&*watcher, id).await.unwrap();
    assert_eq!(watcher.remove(id, seen).await, Ok(true));
    assert_eq!(watcher.remove(id, seen).await, Ok(false));
    let counters = map.counters().await.unwrap();
    assert!(counters.version > before);
    assert_eq!(counters.unswept_since, counters.version);
    assert_eq!(
        (map.heartbeat(id).await, counters.heartbeats),
        (Ok(None), vec![])
    );
}

pub(super) async fn too_large_calls_are_refused(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (client, _replies) = fleet_client(bus).await;
    let id = joined(&*map, "a").await;
    let many = |count: usize| -> Vec<_> { (0..count).map(|n| urn(&n.to_string())).collect() };
    let names = many(513);
    let large = MemberProfile {
        shared: many(4097),
        ..profile("a")
    };
    for refused in [
        map.list(id, &names).await.err(),
        map.unlist(id, &names).await.err(),
        client.look_up(&names).await.err(),
        map.join(&large).await.err(),
        map.announce(id, &large).await.err(),
    ] {
        assert!(matches!(refused, Some(TransportError::NotDone(_))));
    }
    let large = MemberProfile {
        shared: many(4096),
        ..profile("a")
    };
    assert_eq!(map.announce(id, &large).await, Ok(true));
    let profile = client.members().await.unwrap().all.pop().unwrap().profile;
    assert!(profile == large);
    assert_eq!(map.list(id, &[]).await, Ok(Some(Vec::new())));
    assert_eq!(client.look_up(&[]).await.unwrap().owners, []);
}

pub(super) async fn clients_see_members(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (client, _replies) = fleet_client(bus).await;
    assert_eq!(client.version().await, Ok(MapVersion(0)));
    assert_eq!(client.members().await, Ok(Members::default()));
    let mut profiles = Vec::new();
    for (number, state) in [
        MemberState::Listing,
        MemberState::Serving,
        MemberState::Draining,
        MemberState::Left,
    ]
    .into_iter()
    .enumerate()
    {
        let profile = in_state(&format!("n{number}"), state);
        let id = map.join(&profile).await.unwrap();
        profiles.push(Member { id, profile });
        let members = client.members().await.unwrap();
        assert_eq!(members.all, profiles);
        assert_eq!(Ok(members.version), client.version().await);
        assert_eq!(map.members().await, Ok(members));
    }
    client.close().await;
    assert!(matches!(
        client.members().await,
        Err(TransportError::NotDone(_))
    ));
}

/// Counts changes of the map.
struct Changes(Sender<()>);

impl ReplySink for Changes {
    fn receive(&self, _: Bytes) {
        panic!("no reply was published");
    }

    fn map_changed(&self) {
        let _ = self.0.try_send(()); // the test may be over
    }
}

/// A client, and the changes of which it hears from now on.
pub(super) async fn hearing(
    config: &Config,
    id: ClientId,
) -> (Arc<dyn ClientTransport>, Receiver<()>) {
    let (sender, mut receiver) = channel(64);
    let sink = Arc::new(Changes(sender));
    let client = open::open_client(config, id, sink, &Arc::default()).await;
    while receiver.try_recv().is_ok() {} // the subscription itself is a notice
    (client.unwrap(), receiver)
}

/// Waits for that many notices, and looks whether more come.
pub(super) async fn heard(changes: &mut Receiver<()>, count: usize) {
    for _ in 0..count {
        assert_eq!(timeout(LONG, changes.recv()).await, Ok(Some(())));
    }
    let more = timeout(4 * SHORT, changes.recv()).await;
    assert!(!matches!(more, Ok(Some(()))), "one more than {count}");
}

pub(super) async fn clients_hear_of_changes(bus: &dyn TestBus) {
    let map = map(bus).await;
    let config = bus.config().fleet();
    let (_one, mut first) = hearing(&config, id(1)).await;
    let (other, mut second) = hearing(&config, id(2)).await;
    let (_alone, mut outside) = hearing(&bus.config(), id(3)).await;
    let (_elsewhere, mut foreign) = hearing(&config.clone().namespace("other"), id(4)).await;
    let id = joined(&*map, "a").await;
    heard(&mut first, 1).await;
    heard(&mut second, 1).await;
    map.announce(id, &profile("a")).await.unwrap();
    heard(&mut first, 1).await;
    heard(&mut second, 1).await;
    other.close().await;
    removed(&*map, id).await;
    heard(&mut first, 1).await;
    assert_eq!(second.recv().await, None);

    // These say nothing about members.
    let id = joined(&*map, "b").await;
    heard(&mut first, 1).await;
    map.heartbeat(id).await.unwrap();
    map.list(id, &[urn("ledger")]).await.unwrap();
    map.unlist(id, &[urn("ledger")]).await.unwrap();
    map.sweep(0, 0).await.unwrap();
    assert_eq!(map.remove(id, Heartbeats(99)).await, Ok(false));
    for changes in [&mut first, &mut outside, &mut foreign] {
        heard(changes, 0).await;
    }
}

pub(super) async fn namespaces_have_separate_fleets(bus: &dyn TestBus) {
    let other = bus.config().namespace("other").node("x");
    let other = open_server(&other, &Arc::default()).await.unwrap().fleet();
    let map = map(bus).await;
    let (one, two) = (joined(&*map, "a").await, joined(&*other, "a").await);
    assert_eq!(map.members().await.unwrap().all.len(), 1);
    assert_eq!(other.members().await.unwrap().all.len(), 1);
    map.list(one, &[urn("ledger")]).await.unwrap();
    other.list(two, &[urn("till")]).await.unwrap();
    let (client, _replies) = fleet_client(bus).await;
    let found = client.look_up(&[urn("ledger"), urn("till")]).await;
    assert_eq!(found.unwrap().owners, [Some(one), None]);
}

pub(super) async fn closed_server_refuses_calls_of_its_map(bus: &dyn TestBus) {
    let server = server(bus).await;
    let map = server.fleet();
    let id = joined(&*map, "a").await;
    server.close().await;
    for refused in [
        map.heartbeat(id).await.err(),
        map.members().await.err(),
        map.list(id, &[urn("ledger")]).await.err(),
        map.forget_node("gone").await.err(),
    ] {
        assert!(matches!(refused, Some(TransportError::NotDone(_))));
    }
}

pub(super) async fn only_a_node_without_a_lease_is_forgotten(bus: &dyn TestBus) {
    let map = map(bus).await;
    let config = bus.config().node("gone");
    let server = open_server(&config, &Arc::default()).await.unwrap();
    let (client, _replies) = open_client(&config, id(1), 8).await.unwrap();
    map.forget_node("gone").await.unwrap();
    let before = granted(&*server).await;
    server.release(before).await.unwrap();
    let epoch = granted(&*server).await;
    client.enqueue(epoch, frames(&["a"])).await.unwrap();
    map.forget_node("gone").await.unwrap();
    let renewed = server.renew(epoch, LEASE).await.unwrap();
    assert!(renewed.is_some());
    assert_eq!(pop(&*server, epoch, 9).await, batch(&["a"]));

    client.enqueue(epoch, frames(&["b"])).await.unwrap();
    server.release(epoch).await.unwrap();
    map.forget_node("other").await.unwrap();
    map.forget_node("gone").await.unwrap();
    map.forget_node("gone").await.unwrap();
    assert!(pop(&*server, epoch, 9).await.is_empty());
    sleep(SHORT).await; // the next epoch is the time
    let grant = grant(&*server, &claim()).await;
    assert_eq!(grant.former, None);
    assert!(grant.epoch > epoch);
}
