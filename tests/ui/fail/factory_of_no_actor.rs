use conclib::prelude::*;
use conclib::pool::Pool;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};

struct NoActor;

fn main() {
    let system = ActorSystem::new();
    let _ = system.supervise(|| async { NoActor });
    let _ = Pool::new(2, || async { NoActor });
    let _ = Supervisor::new(Strategy::OneForOne).member(ChildSpec::new(|| async { NoActor }));
}
