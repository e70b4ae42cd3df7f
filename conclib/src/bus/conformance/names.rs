//! The names that the members of a fleet list.

use super::fleet::{fleet_client, in_state, joined, map, removed, urn};
use super::*;
use crate::bus::transport::fleet::{
    FleetMap, ListOutcome, MAX_NAMES, MapVersion, MemberId, MemberState, SHARDS,
};
use crate::urn::Urn;

use ListOutcome::{Here, There};

const NONE: MemberId = MemberId::NONE;

/// Lists a name.
async fn list(map: &dyn FleetMap, id: MemberId, name: &str) -> ListOutcome {
    let listed = map.list(id, &[urn(name)]).await.unwrap();
    listed.expect("a member")[0]
}

async fn unlist(map: &dyn FleetMap, id: MemberId, name: &str) {
    map.unlist(id, &[urn(name)]).await.unwrap();
}

async fn freed(map: &dyn FleetMap) -> u64 {
    map.counters().await.unwrap().freed
}

/// Sweeps every shard.
pub(super) async fn sweep(map: &dyn FleetMap) {
    for shard in 0..SHARDS {
        let mut position = 0;
        loop {
            position = map.sweep(shard, position).await.unwrap();
            if position == 0 {
                break;
            }
        }
    }
}

/// The members that have these names, as clients see it.
async fn found(client: &dyn ClientTransport, names: &[&str]) -> Vec<Option<MemberId>> {
    let names: Vec<_> = names.iter().map(|name| urn(name)).collect();
    let found = client.look_up(&names).await.unwrap();
    assert_eq!(found.version, client.version().await.unwrap());
    found.owners
}

pub(super) async fn name_has_one_member(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (client, _replies) = fleet_client(bus).await;
    let (one, other) = (joined(&*map, "a").await, joined(&*map, "b").await);
    let names = ["user/1", "user/2", "größe", "user/1"].map(urn);
    let listed = map.list(one, &names).await.unwrap().unwrap();
    assert_eq!(listed, [Here; 4]);
    assert_eq!(list(&*map, one, "user/1").await, Here, "it has it already");
    let listed = map.list(other, &["user/3", "user/2"].map(urn)).await;
    assert_eq!(listed, Ok(Some(vec![Here, There(one)])));
    let found_now = found(&*client, &["user/3", "user/2", "missing", "größe"]).await;
    assert_eq!(found_now, [Some(other), Some(one), None, Some(one)]);

    unlist(&*map, other, "user/2").await;
    unlist(&*map, one, "missing").await;
    assert_eq!(found(&*client, &["user/2"]).await, [Some(one)]);
    unlist(&*map, one, "user/2").await;
    assert_eq!(
        found(&*client, &["user/2"]).await,
        [Some(NONE)],
        "it is awaited"
    );
    unlist(&*map, one, "user/1").await;
    assert_eq!(found(&*client, &["user/1"]).await, [None]);
    assert_eq!(list(&*map, other, "user/2").await, Here);
    assert_eq!(list(&*map, one, "user/2").await, There(other));
}

pub(super) async fn waiting_members_are_told_of_freed_names(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (one, other) = (joined(&*map, "a").await, joined(&*map, "b").await);
    list(&*map, one, "quiet").await;
    list(&*map, one, "awaited").await;
    assert_eq!(list(&*map, other, "awaited").await, There(one));
    assert_eq!(list(&*map, one, "awaited").await, Here);
    let before = freed(&*map).await;
    unlist(&*map, one, "quiet").await;
    unlist(&*map, other, "awaited").await;
    assert_eq!(freed(&*map).await, before, "no member waits for it");
    unlist(&*map, one, "awaited").await;
    let after = freed(&*map).await;
    assert!(after > before);

    // The one that stood by is no longer noted with the name, which is freed once more if it is not listed.
    unlist(&*map, NONE, "awaited").await;
    let (client, _replies) = fleet_client(bus).await;
    assert_eq!(found(&*client, &["awaited"]).await, [None]);
    assert_eq!(list(&*map, other, "awaited").await, Here);
    unlist(&*map, other, "awaited").await;
    assert_eq!(freed(&*map).await, after);
}

pub(super) async fn names_of_members_that_left_or_are_gone_are_given(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (client, _replies) = fleet_client(bus).await;
    let (one, other) = (joined(&*map, "a").await, joined(&*map, "b").await);
    let third = joined(&*map, "c").await;
    for name in ["one", "two", "three"] {
        list(&*map, one, name).await;
    }
    assert_eq!(list(&*map, other, "two").await, There(one));
    for state in [MemberState::Listing, MemberState::Draining] {
        map.announce(one, &in_state("a", state)).await.unwrap();
        assert_eq!(list(&*map, other, "one").await, There(one));
        assert_eq!(list(&*map, third, "one").await, There(one));
    }
    let left = in_state("a", MemberState::Left);
    map.announce(one, &left).await.unwrap();
    assert_eq!(list(&*map, other, "one").await, Here);
    assert_eq!(list(&*map, third, "one").await, There(other));
    let names = ["one", "two", "three"];
    let owners = [Some(other), Some(one), Some(one)];
    assert_eq!(found(&*client, &names).await, owners);

    removed(&*map, one).await;
    assert_eq!(list(&*map, third, "two").await, Here);
    let owners = [Some(other), Some(third), Some(one)];
    assert_eq!(found(&*client, &names).await, owners);

    // A member that stood by for the one before still does.
    let before = freed(&*map).await;
    unlist(&*map, third, "two").await;
    assert!(freed(&*map).await > before);
}

pub(super) async fn sweep_frees_names_of_no_member(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (client, _replies) = fleet_client(bus).await;
    let (gone, left) = (joined(&*map, "a").await, joined(&*map, "b").await);
    let stays = joined(&*map, "c").await;
    for name in ["gone/1", "gone/2"] {
        list(&*map, gone, name).await;
    }
    list(&*map, left, "left").await;
    list(&*map, stays, "stays").await;
    assert_eq!(list(&*map, stays, "gone/1").await, There(gone));
    let marked = in_state("b", MemberState::Left);
    map.announce(left, &marked).await.unwrap();
    let names = ["gone/1", "gone/2", "left", "stays"];
    sweep(&*map).await;
    let all = [Some(gone), Some(gone), Some(left), Some(stays)];
    assert_eq!(found(&*client, &names).await, all);

    removed(&*map, gone).await;
    let before = freed(&*map).await;
    for awaited in [Some(NONE), None] {
        sweep(&*map).await;
        let rest = [awaited, None, Some(left), Some(stays)];
        assert_eq!(found(&*client, &names).await, rest);
    }
    let after = freed(&*map).await;
    assert!(after > before);
    removed(&*map, left).await;
    sweep(&*map).await;
    assert_eq!(freed(&*map).await, after, "no member waits for it");
    let rest = [None, None, None, Some(stays)];
    assert_eq!(found(&*client, &names).await, rest);
}

pub(super) async fn sweep_is_noted_unless_a_member_was_removed_since(bus: &dyn TestBus) {
    let map = map(bus).await;
    let unswept = async || map.counters().await.unwrap().unswept_since;
    let (one, other) = (joined(&*map, "a").await, joined(&*map, "b").await);
    assert_eq!(unswept().await, MapVersion(0));
    removed(&*map, one).await;
    let first = unswept().await;
    removed(&*map, other).await;
    let second = unswept().await;
    assert!(second > first && first > MapVersion(0));
    map.swept(first).await.unwrap();
    assert_eq!(unswept().await, second);
    map.swept(second).await.unwrap();
    assert_eq!(unswept().await, MapVersion(0));

    // Another sweep that ends late says nothing about a removal behind it.
    let third = joined(&*map, "c").await;
    removed(&*map, third).await;
    let third = unswept().await;
    assert!(third > second);
    map.swept(second).await.unwrap();
    assert_eq!(unswept().await, third);
}

pub(super) async fn many_names_are_listed_in_batches(bus: &dyn TestBus) {
    let map = map(bus).await;
    let (client, _replies) = fleet_client(bus).await;
    let (one, other) = (joined(&*map, "a").await, joined(&*map, "b").await);
    let names: Vec<Urn> = (0..2000).map(|n| urn(&format!("user/{n}"))).collect();
    for batch in names.chunks(MAX_NAMES) {
        let listed = map.list(one, batch).await.unwrap().unwrap();
        assert_eq!(listed, vec![Here; batch.len()]);
        let listed = map.list(other, batch).await.unwrap().unwrap();
        assert_eq!(listed, vec![There(one); batch.len()]);
    }
    for batch in names.chunks(MAX_NAMES) {
        let found = client.look_up(batch).await.unwrap();
        assert_eq!(found.owners, vec![Some(one); batch.len()]);
    }
    map.unlist(one, &names[..MAX_NAMES]).await.unwrap();
    let last = map.counters().await.unwrap().heartbeats;
    let last = last.iter().find(|(id, _)| *id == one).unwrap().1;
    assert_eq!(map.remove(one, last).await, Ok(true));
    for owner in [Some(NONE), None] {
        sweep(&*map).await;
        let found = client.look_up(&names[MAX_NAMES..2 * MAX_NAMES]).await;
        assert_eq!(found.unwrap().owners, vec![owner; MAX_NAMES]);
    }
}
