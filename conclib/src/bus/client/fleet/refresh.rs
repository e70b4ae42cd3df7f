//! Keeps the routes of a client up to date: reads the map, looks names up, and takes requests back from
//! members that do not answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::bus::client::batch::UNKNOWN;
use crate::bus::client::fleet::Router;
use crate::bus::client::node_link::NodeLink;
use crate::bus::client::shared::ClientShared;
use crate::bus::link::RECONNECT_BACKOFF;
use crate::bus::transport::fleet::{MAX_NAMES, MapVersion, MemberId, NameOwners};
use crate::bus::transport::{Copies, TransportError};
use crate::error::AskError;
use crate::urn::Urn;

/// Interval at which the version of the map is read, in case a notice was lost, and at which members that
/// do not answer are looked for.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);

/// Pause between two reads of the members.
const READ_PAUSE: Duration = Duration::from_millis(20);

/// Number of requests that are taken back at a time.
const MAX_TAKEN_BACK: usize = 512;

/// Keeps the routes of a client up to date until it is closed.
pub(in crate::bus::client) async fn refresh(shared: Arc<ClientShared>) {
    let notifies = |router: &mut Router| (router.wakes.clone(), router.refusals.clone());
    let Some((wakes, refusals)) = shared.with_router(notifies) else {
        return;
    };
    // Beside the calls to the bus, which may take long.
    tokio::select! {
        () = keep_up_to_date(&shared, &wakes) => {}
        () = end_refused(&shared, &refusals) => {}
    }
}

/// Ends requests that no member accepts, outside the lock of the pending ones.
async fn end_refused(shared: &ClientShared, refusals: &Notify) {
    loop {
        refusals.notified().await;
        shared.end_refused_in_fleet();
    }
}

async fn keep_up_to_date(shared: &Arc<ClientShared>, wakes: &Notify) {
    let mut schedule = Schedule {
        round: Instant::now() + ROUND_INTERVAL,
        read: Instant::now(),
        call: Instant::now(),
    };
    let mut failures = 0;
    while !shared.closed.is_cancelled() {
        let now = Instant::now();
        if now >= schedule.call {
            if let Err(reason) = update(shared, &mut schedule, now).await {
                debug!(%reason, "cannot read the map of the fleet: trying again");
                let pause = RECONNECT_BACKOFF.jittered_delay(failures, fastrand::f64());
                schedule.call = Instant::now() + pause;
                failures += 1;
                shared.with_router(Router::map_changed);
            } else {
                failures = 0;
            }
        }
        let next = shared.with_router(|router| router.next_work(Instant::now(), schedule.read));
        let next = next
            .flatten()
            .map_or(schedule.round, |next| next.min(schedule.round));
        tokio::select! {
            () = shared.closed.cancelled() => {}
            () = wakes.notified() => {}
            () = sleep_until(next.max(schedule.call)) => {}
        }
    }
}

/// The earliest times of the next calls.
struct Schedule {
    /// Of those at intervals.
    round: Instant,
    /// Of a read of the members: there may be many, and they may change often.
    read: Instant,
    /// Of any.
    call: Instant,
}

/// Does what is wanted now, and at intervals also what is due then.
async fn update(
    shared: &Arc<ClientShared>,
    schedule: &mut Schedule,
    now: Instant,
) -> Result<(), TransportError> {
    let is_round = now >= schedule.round;
    if is_round {
        schedule.round = now + ROUND_INTERVAL;
    }
    let may_read = now >= schedule.read;
    let wanted = shared.with_router(|router| router.take_due(now, may_read));
    let Some((wants_members, names)) = wanted else {
        return Ok(());
    };
    if wants_members {
        schedule.read = now + READ_PAUSE;
    }
    let updated = async {
        update_members(shared, wants_members, is_round).await?;
        take_back_from_gone(shared).await?;
        Ok(())
    };
    if let Err(reason) = updated.await {
        shared.with_router(|router| router.retry_lookups(names, Instant::now()));
        return Err(reason);
    }
    look_up(shared, names).await?;
    if is_round {
        take_back_from_silent(shared).await?;
    }
    Ok(())
}

/// Looks names up.
async fn look_up(shared: &ClientShared, mut rest: Vec<Urn>) -> Result<(), TransportError> {
    while !rest.is_empty() {
        let names: Vec<_> = rest.drain(..rest.len().min(MAX_NAMES)).collect();
        match shared.transport.look_up(&names).await {
            Ok(found) => looked_up(shared, &names, &found),
            Err(reason) => {
                rest.extend(names);
                shared.with_router(|router| router.retry_lookups(rest, Instant::now()));
                return Err(reason);
            }
        }
    }
    Ok(())
}

/// Reads the members if a request has asked for that, or the map has changed.
async fn update_members(
    shared: &Arc<ClientShared>,
    is_wanted: bool,
    is_round: bool,
) -> Result<(), TransportError> {
    let known = shared.with_router(|router| router.members.version);
    let has_changed = async || -> Result<bool, TransportError> {
        Ok(is_round && Some(shared.transport.version().await?) != known)
    };
    if is_wanted || has_changed().await? {
        read_members(shared).await?;
    }
    Ok(())
}

/// Reads the members of the fleet.
pub(in crate::bus::client) async fn read_members(
    shared: &Arc<ClientShared>,
) -> Result<(), TransportError> {
    let members = shared.transport.members().await?;
    let links = members.all.into_iter().map(|member| {
        let link = shared.link_to(&member.profile.node);
        (member, link)
    });
    let (links, version): (Vec<_>, MapVersion) = (links.collect(), members.version);
    shared.with_router(|router| router.set_members(version, links));
    Ok(())
}

/// Takes requests back from members that are gone, and lets those leave that wait behind them.
async fn take_back_from_gone(shared: &ClientShared) -> Result<(), TransportError> {
    let gone = shared.with_router(|router| router.gone_members());
    for (member, link) in gone.unwrap_or_default() {
        while take_back(shared, member, &link).await? {}
        let losses = shared.health.losses();
        let mut pending = shared.pending();
        if !pending.member_is_gone(member, losses) {
            continue; // some are being sent: they come back, or are looked for the next time
        }
        let freed = pending.router().map(|router| router.was_emptied(member));
        for urn in freed.into_iter().flatten() {
            pending.release(&urn);
        }
    }
    Ok(())
}

fn looked_up(shared: &ClientShared, names: &[Urn], found: &NameOwners) {
    let (now, version) = (Instant::now(), found.version);
    for (urn, owner) in names.iter().zip(&found.owners) {
        let mut pending = shared.pending();
        let outcome = pending
            .router()
            .map(|router| router.looked_up(urn, *owner, version, now));
        match outcome {
            Some(Ok(true)) => pending.release(urn),
            Some(Err(error)) => pending.refuse_held(urn, &error),
            Some(Ok(false)) | None => {}
        }
    }
}

/// Takes requests back that members have not taken off their inboxes, and that do not answer: they were
/// certainly not executed.
async fn take_back_from_silent(shared: &ClientShared) -> Result<(), TransportError> {
    let silent = shared.with_router(|router| router.silent_members(Instant::now()));
    for (member, link) in silent.unwrap_or_default() {
        while take_back(shared, member, &link).await? {}
    }
    Ok(())
}

/// Takes some requests back; false if there are none. After a connection was lost, the bus may have been set back to
/// a time at which the member had not taken a request yet that it has executed: so nothing is certain then. A bus
/// that is set back later has the request again, and its member executes none of them: it begins another epoch.
async fn take_back(
    shared: &ClientShared,
    member: MemberId,
    link: &NodeLink,
) -> Result<bool, TransportError> {
    let losses = shared.health.losses();
    let (epoch, requests) = shared.pending().accepted_by(member, losses, MAX_TAKEN_BACK);
    let Some(epoch) = epoch else {
        return Ok(false);
    };
    let (ids, frames): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    let transport = &shared.transport;
    let taken = transport.take_back(&link.keys, epoch, frames, Copies::One);
    let taken = match taken.await {
        Ok(taken) => taken,
        Err(error) => {
            if matches!(error, TransportError::NotDone(_)) {
                shared.pending().look_for_again(&ids);
            }
            return Err(error);
        }
    };
    let taken = ids.into_iter().zip(taken);
    let taken = taken.filter_map(|(id, was_there)| was_there.then_some(id));
    let is_certain = shared.health.losses() == losses;
    let mut pending = shared.pending();
    for id in taken {
        if is_certain {
            pending.reroute(id, &AskError::NoResponder);
        } else {
            pending.refuse(id, UNKNOWN);
        }
    }
    Ok(true)
}
