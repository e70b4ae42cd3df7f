use conclib::prelude::*;
use conclib::{GroupMember, Pool, Strategy, Supervisor};

struct NoActor;

fn main() {
    let system = ActorSystem::new();
    let _ = system.supervise(|| async { NoActor });
    let _ = Pool::new(2, || async { NoActor });
    let _ = Supervisor::new(Strategy::OneForOne).member(GroupMember::new(|| async { NoActor }));
}
