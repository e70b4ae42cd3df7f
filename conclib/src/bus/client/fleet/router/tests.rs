use super::*;
use crate::bus::transport::fleet::{MemberProfile, MemberState};
use crate::error::AskError::{ActorNotFound, NoResponder, Overloaded};

const ONE: MemberId = MemberId(1);
const OTHER: MemberId = MemberId(2);
const SECOND: Duration = Duration::from_secs(1);

fn ledger() -> Urn {
    Urn::unchecked("ledger")
}

fn member(id: MemberId, state: MemberState, shared: &[Urn]) -> (Member, Arc<NodeLink>) {
    let node = format!("node-{}", id.0);
    let link = NodeLink::to(&node);
    let profile = MemberProfile {
        node,
        process: [u8::try_from(id.0).unwrap(); 6],
        state,
        shared: shared.to_vec(),
    };
    (Member { id, profile }, link)
}

fn router(members: Vec<(Member, Arc<NodeLink>)>) -> Router {
    let mut router = Router::default();
    router.set_members(MapVersion(1), members);
    router
}

/// The router of two members that serve, and share these names.
fn two_members(shared: &[Urn]) -> Router {
    let all = [ONE, OTHER].map(|id| member(id, MemberState::Serving, shared));
    router(all.into())
}

/// Makes a request for the ledger with this id.
fn request(router: &mut Router, id: u64, now: Instant) -> (Route, Destination) {
    let mut route = Route::new(ledger());
    let destination = router.route(&mut route, id, now);
    (route, destination)
}

fn overloaded() -> (Rejection, AskError) {
    let retry_after = SECOND;
    (Rejection::Busy, Overloaded { retry_after })
}

fn not_here() -> (Rejection, AskError) {
    (Rejection::NotHere, ActorNotFound { urn: ledger() })
}

#[test]
fn requests_wait_in_their_order_until_the_name_is_found() {
    let mut router = two_members(&[]);
    let now = Instant::now();
    for id in [7, 8] {
        assert!(matches!(request(&mut router, id, now).1, Destination::Hold));
    }
    assert_eq!(router.take_due(now, true), (false, vec![ledger()]));
    let found = router.looked_up(&ledger(), Some(OTHER), MapVersion(1), now);
    assert_eq!(found, Ok(true));
    assert_eq!(router.take_released(&ledger()), [(7, true), (8, true)]);
    let (route, destination) = request(&mut router, 9, now);
    assert!(matches!(destination, Destination::To(_)));
    assert_eq!(route.member(), Some(OTHER));
}

#[test]
fn name_without_a_member_fails_unless_it_may_be_listed_soon() {
    let now = Instant::now();
    for (state, is_certain) in [(MemberState::Serving, true), (MemberState::Listing, false)] {
        let all = vec![
            member(ONE, MemberState::Serving, &[]),
            member(OTHER, state, &[]),
        ];
        let mut router = router(all);
        let _held = request(&mut router, 1, now);
        let found = router.looked_up(&ledger(), None, MapVersion(1), now);
        let expected = if is_certain {
            Err(ActorNotFound { urn: ledger() })
        } else {
            Ok(false)
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn absent_name_of_an_older_map_is_looked_up_in_the_new_one() {
    let mut router = two_members(&[]);
    let now = Instant::now();
    let _held = request(&mut router, 1, now);
    assert_eq!(router.take_due(now, true), (false, vec![ledger()]));
    let found = router.looked_up(&ledger(), None, MapVersion(2), now);
    assert_eq!(found, Ok(false));
    let later = now + LOOKUP_PAUSE;
    assert_eq!(router.take_due(later, true), (true, vec![ledger()]));
}

#[test]
fn requests_wait_for_those_at_the_former_member() {
    let mut router = two_members(&[]);
    let now = Instant::now();
    let _held = request(&mut router, 1, now);
    let found = router.looked_up(&ledger(), Some(ONE), MapVersion(1), now);
    assert_eq!(found, Ok(true));
    router.take_released(&ledger());
    let (first, _) = request(&mut router, 1, now);
    let (mut second, _) = request(&mut router, 2, now);
    assert_eq!((first.member(), second.member()), (Some(ONE), Some(ONE)));
    // The name moves: the second request is rejected while the first is executed.
    let next = router.rejected(&mut second, 2, not_here(), now);
    assert!(matches!(next, Destination::Hold));
    let found = router.looked_up(&ledger(), Some(OTHER), MapVersion(1), now);
    assert_eq!(found, Ok(false));
    assert!(router.take_released(&ledger()).is_empty());
    assert!(router.ended(&first, 1));
    assert_eq!(router.take_released(&ledger()), [(2, true)]);
    let next = router.route_held(&mut second, 2, now);
    assert!(matches!(next, Destination::To(_)));
    assert_eq!(second.member(), Some(OTHER));
}

#[test]
fn shared_name_goes_to_the_member_with_less_load() {
    let mut router = two_members(&[ledger()]);
    let now = Instant::now();
    let _known = router.looked_up(&ledger(), None, MapVersion(1), now);
    let loaded = router.members.get(ONE).unwrap().link.clone();
    loaded.begin_request();
    for id in 0..20 {
        let (route, _) = request(&mut router, id, now);
        assert_eq!(route.member(), Some(OTHER));
    }
}

#[test]
fn member_that_refuses_is_avoided_for_a_second() {
    let mut router = two_members(&[ledger()]);
    let now = Instant::now();
    let _known = router.looked_up(&ledger(), None, MapVersion(1), now);
    let (mut route, _) = request(&mut router, 0, now);
    let refusing = route.member().unwrap();
    let next = router.rejected(&mut route, 0, overloaded(), now);
    assert!(matches!(next, Destination::To(_)));
    assert_ne!(route.member(), Some(refusing));
    let goes_to_refusing = |router: &mut Router, at| {
        let mut members = (1..50).map(|id| request(router, id, at).0.member());
        members.any(|member| member == Some(refusing))
    };
    assert!(!goes_to_refusing(&mut router, now + SECOND / 2));
    assert!(goes_to_refusing(&mut router, now + 2 * SECOND));
}

#[test]
fn refused_request_ends_after_each_member_was_tried() {
    let mut router = two_members(&[ledger()]);
    let now = Instant::now();
    let _known = router.looked_up(&ledger(), None, MapVersion(1), now);
    let (mut route, _) = request(&mut router, 0, now);
    let next = router.rejected(&mut route, 0, overloaded(), now);
    assert!(matches!(next, Destination::To(_)));
    let next = router.rejected(&mut route, 0, overloaded(), now);
    assert!(matches!(next, Destination::Fail(Overloaded { .. })));
}

#[test]
fn repetitions_after_overload_are_one_in_ten() {
    let mut router = two_members(&[ledger()]);
    let now = Instant::now();
    let _known = router.looked_up(&ledger(), None, MapVersion(1), now);
    let repeated = (0..1_000).filter(|id| {
        let (mut route, _) = request(&mut router, *id, now);
        let next = router.rejected(&mut route, *id, overloaded(), now);
        matches!(next, Destination::To(_))
    });
    // Ten are free at first.
    assert_eq!(repeated.count(), 110);
}

#[test]
fn generated_name_goes_to_its_process_only() {
    let mut router = two_members(&[]);
    let now = Instant::now();
    let urn = Urn::unchecked(Uuid::random_of([2; 6]).text().as_urn());
    let mut route = Route::new(urn.clone());
    assert!(matches!(
        router.route(&mut route, 0, now),
        Destination::To(_)
    ));
    assert_eq!(route.member(), Some(OTHER));
    assert_eq!(route.rejection(&ActorNotFound { urn }), None);
    assert_eq!(route.rejection(&NoResponder), Some(Rejection::Closed));
    let closed = (Rejection::Closed, NoResponder);
    let next = router.rejected(&mut route, 0, closed, now);
    assert!(matches!(next, Destination::Fail(NoResponder)));
}

#[test]
fn fleet_whose_members_are_dead_has_no_responder() {
    let mut router = two_members(&[ledger()]);
    let start = Instant::now();
    let _known = router.looked_up(&ledger(), None, MapVersion(1), start);
    for seconds in 0..=7 {
        let now = start + seconds * SECOND;
        let (mut route, _) = request(&mut router, 0, now);
        while route.member().is_some() {
            let closed = (Rejection::Closed, NoResponder);
            router.rejected(&mut route, 0, closed, now);
        }
        let found = router.looked_up(&ledger(), None, MapVersion(1), now);
        let expected = if seconds < 7 {
            Ok(true)
        } else {
            Err(NoResponder)
        };
        assert_eq!(found, expected, "{seconds}");
        router.take_held(&ledger());
    }
}

#[test]
fn names_of_a_lost_map_are_waited_for() {
    let mut router = two_members(&[]);
    let now = Instant::now();
    router.set_members(
        MapVersion(9),
        vec![member(MemberId(10), MemberState::Serving, &[])],
    );
    router.set_members(
        MapVersion(10),
        [10, 11]
            .map(|id| member(MemberId(id), MemberState::Serving, &[]))
            .into(),
    );
    let _held = request(&mut router, 0, now);
    assert_eq!(
        router.looked_up(&ledger(), None, MapVersion(10), now),
        Ok(false)
    );
    let later = now + 8 * SECOND;
    let found = router.looked_up(&ledger(), None, MapVersion(10), later);
    assert_eq!(found, Err(ActorNotFound { urn: ledger() }));
}
