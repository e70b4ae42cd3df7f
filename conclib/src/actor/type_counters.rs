//! Counters of actor types: of the messages that their actors did not take, and of actors that have ended.
//!
//! An actor refers to the counters of its type by a number, which takes four bytes in a place that was padding. Each
//! thread counts for itself, with plain stores into memory of its own; a reader adds the threads up. So counting
//! costs a few nanoseconds, also where many threads spawn actors of one type.

use std::any::type_name;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::{Mutex, RwLock};

use crate::actor::failure_event::handler_names;
use crate::actor::recipient::MessageTypeName;
use crate::actor::{HandlerNames, Handlers, RecipientQuery};
use crate::error::AskErrorKind;
use crate::error::panics::catch;
use crate::stop_reason::StopKind;

use times::TypeTimes;

mod times;

/// The number of an actor type in a system. No two systems of a process share one; 0 is that of actors without a
/// system, in unit tests of handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct TypeNumber(u32);

/// A counter of an actor type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TypeCounter {
    /// Messages and ticks that were handled, by actors that have ended.
    Handled,
    /// Failures, panics included.
    Failures,
    Panics,
    Restarts,
    /// Actors that have ended, for this reason.
    Stopped(StopKind),
    /// Messages that no handler has begun, with the error that their senders got or would have got.
    Lost(AskErrorKind),
}

impl TypeCounter {
    const STOPPED: usize = 4;
    const LOST: usize = Self::STOPPED + StopKind::ALL.len();
    const COUNT: usize = Self::LOST + AskErrorKind::ALL.len();

    fn place(self) -> usize {
        match self {
            Self::Handled => 0,
            Self::Failures => 1,
            Self::Panics => 2,
            Self::Restarts => 3,
            Self::Stopped(kind) => Self::STOPPED + kind as usize,
            Self::Lost(kind) => Self::LOST + kind as usize,
        }
    }
}

/// The counters of a type that one thread writes.
struct ThreadCounters {
    of_type: [AtomicU64; TypeCounter::COUNT],
    /// Messages that were handled, and those that have failed, of each handler.
    handlers: Box<[[AtomicU64; 2]]>,
    /// The times of the type's messages, which all threads record together.
    times: Arc<TypeTimes>,
}

impl ThreadCounters {
    fn new(times: &Arc<TypeTimes>) -> Self {
        let none = || [const { AtomicU64::new(0) }; 2];
        let handlers = times.handlers();
        Self {
            of_type: [const { AtomicU64::new(0) }; TypeCounter::COUNT],
            handlers: std::iter::repeat_with(none).take(handlers).collect(),
            times: times.clone(),
        }
    }

    /// All counters, in one order.
    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.of_type.iter().chain(self.handlers.iter().flatten())
    }

    /// The place of a handler's counters.
    #[cfg(feature = "metrics")]
    fn place_of(&self, handler: u16) -> usize {
        usize::from(handler).min(self.handlers.len().saturating_sub(1))
    }

    /// Adds the counters of a thread that has ended.
    fn add_all(&self, other: &Self) {
        for (sum, counter) in self.all().zip(other.all()) {
            add(sum, counter.load(Ordering::Relaxed));
        }
    }
}

/// Messages of one handler.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HandlerCounter {
    Handled = 0,
    #[cfg_attr(
        not(feature = "metrics"),
        allow(dead_code, reason = "handlers are counted with the feature")
    )]
    Failed = 1,
}

/// The counters of an actor type in a system.
pub(crate) struct TypeCounters {
    number: TypeNumber,
    pub(crate) name: &'static str,
    /// The names of the handlers; the last ones are those of all that have no number of their own.
    pub(crate) handlers: Vec<HandlerNames>,
    /// Lists the messages that the type handles.
    messages: fn() -> Vec<MessageTypeName>,
    /// The times of messages, by handler.
    times: Arc<TypeTimes>,
    threads: Mutex<Threads>,
    /// The greatest number of handled messages that was reported.
    reported_handled: AtomicU64,
}

struct Threads {
    /// The sums of threads that have ended.
    ended: ThreadCounters,
    running: Vec<Arc<ThreadCounters>>,
}

impl Threads {
    /// Adds the counters of threads that have ended to the sums.
    fn fold_ended(&mut self) {
        let Self { ended, running } = self;
        running.retain_mut(|thread| match Arc::get_mut(thread) {
            Some(thread) => {
                ended.add_all(thread); // no thread writes it any more
                false
            }
            None => true,
        });
    }
}

/// The counters of all systems, by number.
static TYPES: LazyLock<RwLock<HashMap<TypeNumber, Weak<TypeCounters>>>> =
    LazyLock::new(RwLock::default);

thread_local! {
    /// The counters of this thread.
    static COUNTERS: RefCell<CountersByType> = RefCell::default();
}

/// The counters of one thread.
type CountersByType = HashMap<TypeNumber, Arc<ThreadCounters>, BuildHasherDefault<NumberHasher>>;

/// Hashes numbers that are counted here, and that no peer chooses.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // The table takes the place from the lower bits, and distinguishes neighbours by the upper seven.
        let number = u64::from(number) + self.0;
        self.0 = (number << 57) | number;
    }
}

/// The number of types whose counters a thread keeps without a look for systems that have ended.
const MAX_KEPT: usize = 64;

impl TypeCounters {
    /// New counters of a type, with a number of their own.
    pub(crate) fn new<A: Handlers>() -> Arc<Self> {
        let numbers = (0..A::HANDLERS).chain([u16::MAX - 1]);
        let handlers = numbers.map(handler_names::<A>).collect();
        Self::with(type_name::<A>(), handlers, messages_of::<A>)
    }

    fn with(
        name: &'static str,
        handlers: Vec<HandlerNames>,
        messages: fn() -> Vec<MessageTypeName>,
    ) -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = TypeNumber(NEXT.fetch_add(1, Ordering::Relaxed));
        let times = Arc::new(TypeTimes::new(handlers.len()));
        let counters = Arc::new(Self {
            number,
            name,
            threads: Mutex::new(Threads {
                ended: ThreadCounters::new(&times),
                running: Vec::new(),
            }),
            handlers,
            messages,
            times,
            reported_handled: AtomicU64::new(0),
        });
        TYPES.write().insert(number, Arc::downgrade(&counters));
        counters
    }

    pub(crate) fn number(&self) -> TypeNumber {
        self.number
    }

    /// The messages from the bus that actors of the type handle.
    pub(crate) fn messages(&self) -> Vec<MessageTypeName> {
        (self.messages)()
    }

    /// The counters of a thread that counts for the first time.
    fn begin_thread(&self) -> Arc<ThreadCounters> {
        let counters = Arc::new(ThreadCounters::new(&self.times));
        let mut threads = self.threads.lock();
        if threads.running.len() == threads.running.capacity() {
            threads.fold_ended(); // so that threads that come and go take no memory
        }
        threads.running.push(counters.clone());
        counters
    }

    /// The number of handled messages to be reported: at least that of the last time. An actor that ends during
    /// a look at all is missing in it.
    pub(crate) fn report_handled(&self, seen: u64) -> u64 {
        let last = self.reported_handled.fetch_max(seen, Ordering::Relaxed);
        last.max(seen)
    }

    /// The sums of all threads.
    pub(crate) fn read(&self) -> TypeCounts {
        let mut threads = self.threads.lock();
        threads.fold_ended();
        let sums = ThreadCounters::new(&self.times);
        sums.add_all(&threads.ended);
        for thread in &threads.running {
            sums.add_all(thread);
        }
        TypeCounts(sums)
    }
}

/// The messages of a type, also if hand-written code for them panics.
fn messages_of<A: Handlers>() -> Vec<MessageTypeName> {
    let mut messages = Vec::new();
    let listed = catch(|| A::recipient(&mut RecipientQuery::for_messages(&mut messages)));
    if listed.is_err() {
        messages.clear();
    }
    messages
}

impl Drop for TypeCounters {
    fn drop(&mut self) {
        TYPES.write().remove(&self.number);
    }
}

/// Counters of a type at one moment.
pub(crate) struct TypeCounts(ThreadCounters);

impl TypeCounts {
    pub(crate) fn get(&self, counter: TypeCounter) -> u64 {
        self.0.of_type[counter.place()].load(Ordering::Relaxed)
    }

    /// The messages of the handler at this place.
    pub(crate) fn of_handler(&self, place: usize, counter: HandlerCounter) -> u64 {
        let counters = self.0.handlers.get(place);
        counters.map_or(0, |counters| {
            counters[counter as usize].load(Ordering::Relaxed)
        })
    }
}

impl TypeNumber {
    /// Adds one to a counter of this type.
    pub(crate) fn count(self, counter: TypeCounter) {
        self.add(counter, 1);
    }

    /// Adds a number to a counter of this type; does nothing once the system is gone.
    pub(crate) fn add(self, counter: TypeCounter, number: u64) {
        if number > 0 {
            self.with_counters(|counters| add(&counters.of_type[counter.place()], number));
        }
    }

    /// Adds messages that one handler has handled; true if the next local one is to be timed.
    #[cfg(feature = "metrics")]
    pub(crate) fn add_handled(self, handler: u16, messages: u16) -> bool {
        let mut is_next_timed = false;
        self.with_counters(|counters| {
            if let Some(of_handler) = counters.handlers.get(counters.place_of(handler)) {
                let sum = &of_handler[HandlerCounter::Handled as usize];
                let before = sum.load(Ordering::Relaxed);
                add(sum, messages.into());
                is_next_timed = counters.times.is_next_sampled(before, messages.into());
            }
        });
        is_next_timed
    }

    /// Adds a message with which a handler has failed.
    #[cfg(feature = "metrics")]
    pub(crate) fn add_failed(self, handler: u16) {
        self.with_counters(|counters| {
            if let Some(of_handler) = counters.handlers.get(counters.place_of(handler)) {
                add(&of_handler[HandlerCounter::Failed as usize], 1);
            }
        });
    }

    fn with_counters(self, count: impl FnOnce(&ThreadCounters)) {
        if self == Self::default() {
            return;
        }
        // Fails while the thread ends: then nothing runs that counts, but drops of foreign values.
        let _ = COUNTERS.try_with(|counters| {
            let mut counters = counters.borrow_mut();
            if let Some(of_type) = counters.get(&self) {
                count(of_type);
            } else if let Some(of_type) = self.begin(&mut counters) {
                count(&of_type);
            }
        });
    }

    #[cold]
    fn begin(self, counters: &mut CountersByType) -> Option<Arc<ThreadCounters>> {
        let of_type = TYPES.read().get(&self)?.upgrade()?;
        if counters.len() >= MAX_KEPT {
            counters.retain(|_, of_type| Arc::strong_count(of_type) > 1);
        }
        let of_thread = of_type.begin_thread();
        counters.insert(self, of_thread.clone());
        Some(of_thread)
    }
}

/// Adds to a counter that no other thread writes now.
fn add(counter: &AtomicU64, number: u64) {
    let sum = counter.load(Ordering::Relaxed) + number;
    counter.store(sum, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: TypeCounter = TypeCounter::Lost(AskErrorKind::Overloaded);

    #[test]
    fn threads_count_together_also_after_their_ends() {
        let counters = TypeCounters::with("Worker", Vec::new(), Vec::new);
        let number = counters.number();
        let count = move || (0..1_000).for_each(|_| number.count(LOST));
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(count)).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        count();
        number.add(TypeCounter::Stopped(StopKind::Absent), 7);
        for _ in 0..2 {
            let counts = counters.read();
            assert_eq!(counts.get(LOST), 5_000);
            assert_eq!(counts.get(TypeCounter::Stopped(StopKind::Absent)), 7);
            assert_eq!(counts.get(TypeCounter::Handled), 0);
        }
        assert_eq!(counters.threads.lock().running.len(), 1, "this thread");
    }

    #[test]
    fn threads_that_come_and_go_take_no_memory() {
        let counters = TypeCounters::with("Worker", Vec::new(), Vec::new);
        let number = counters.number();
        for _ in 0..200 {
            let thread = std::thread::spawn(move || number.count(LOST));
            thread.join().unwrap();
        }
        assert!(counters.threads.lock().running.len() <= 8);
        assert_eq!(counters.read().get(LOST), 200);
    }

    #[test]
    fn counters_of_systems_that_are_gone_take_no_memory() {
        let kept = TypeCounters::with("Kept", Vec::new(), Vec::new);
        for _ in 0..1_000 {
            let counters = TypeCounters::with("Worker", Vec::new(), Vec::new);
            let number = counters.number();
            number.count(LOST);
            drop(counters);
            number.count(LOST);
        }
        kept.number().count(LOST);
        assert_eq!(kept.read().get(LOST), 1);
        let types = COUNTERS.with_borrow(CountersByType::len);
        assert!(types <= MAX_KEPT, "{types}");
        TypeNumber::default().count(LOST);
    }
}
