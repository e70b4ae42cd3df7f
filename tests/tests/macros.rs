//! What the macros make of a user's code, on a real system.

use std::collections::HashMap;
use std::error::Error;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use conclib::prelude::*;
use conclib::{First, Handler, Handlers, LookupError, Missed, SpawnError};

type TestResult = Result<(), Box<dyn Error>>;

// ---- messages

#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[message(response = u32)]
struct Double {
    n: u32,
}

#[derive(ActorMessage, Serialize, Deserialize, Debug)]
struct Note(String);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Vec<String>, name = "log.Notes")]
struct Notes;

#[derive(ActorMessage)]
#[message(local, response = std::thread::ThreadId)]
struct Where;

#[test]
fn a_message_has_a_name_and_a_codec() -> TestResult {
    assert_eq!(Double::NAME, "Double");
    assert_eq!(Notes::NAME, "log.Notes");
    assert!(Where::WIRE.is_none());

    let codec = Double::WIRE.ok_or("no codec")?;
    let written = (codec.encode)(&Double { n: 7 })?;
    assert_eq!((codec.decode)(&written)?, Double { n: 7 });
    let response = (codec.encode_response)(&14)?;
    assert_eq!((codec.decode_response)(&response)?, 14);
    Ok(())
}

#[derive(ActorMessage, Serialize, Deserialize)]
enum r#Move {
    Left,
    Right(u8),
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = Option<T>)]
struct Batch<T, const N: usize = 2>
where
    T: Default,
{
    items: Vec<T>,
}

#[derive(ActorMessage)]
#[message(local)]
struct Run<F: FnOnce() + Send + 'static>(F);

#[test]
fn enums_and_generic_types_are_messages() {
    fn is_local<M: ActorMessage>(_: &M) -> bool {
        M::WIRE.is_none()
    }

    assert_eq!(r#Move::NAME, "Move");
    assert_eq!(Batch::<u8>::NAME, "Batch");
    assert!(Batch::<String, 3>::WIRE.is_some());
    assert!(is_local(&Run(|| {})));
    drop((
        r#Move::Left,
        r#Move::Right(1),
        Batch::<u8> { items: vec![] }.items,
    ));
}

// ---- each form of handler

type Outcome = Result<u32, Failure>;

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Alias(bool);

#[derive(ActorMessage)]
#[message(local, response = Result<u32, String>)]
struct Parse(&'static str);

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Later;

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct LaterWithContext;

#[derive(ActorMessage)]
#[message(local)]
struct Release(Result<u32, String>);

#[derive(ActorMessage)]
#[message(local, response = String)]
struct Urn;

#[derive(Actor, Default)]
#[actor(urn = "forms")]
struct Forms {
    notes: Vec<String>,
    waiting: Vec<Reply<u32>>,
}

#[handlers]
impl Forms {
    /// An ordinary doc comment.
    #[handler]
    async fn double(&mut self, message: Double) -> u32 {
        tokio::task::yield_now().await;
        message.n * 2
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.notes.push(text);
    }

    #[handler]
    async fn notes(&self, _: Notes) -> Vec<String> {
        tokio::task::yield_now().await;
        self.notes.clone()
    }

    #[handler]
    fn thread(&mut self, _message: Where) -> std::thread::ThreadId {
        std::thread::current().id()
    }

    #[handler]
    async fn urn(&mut self, _: Urn, ctx: &mut Context<Self>) -> String {
        ctx.urn().to_string()
    }

    #[handler]
    fn alias(&mut self, Alias(fail): Alias) -> Outcome {
        if fail {
            Err(Failure::msg("as asked"))
        } else {
            Ok(7)
        }
    }

    #[handler]
    async fn parse(&mut self, Parse(text): Parse) -> Result<Result<u32, String>, Failure> {
        Ok(text.parse().map_err(|_| format!("{text} is no number")))
    }

    #[handler]
    async fn later(&mut self, _: Later, reply: Reply<u32>) {
        self.waiting.push(reply);
    }

    #[handler]
    fn later_with_context(
        &mut self,
        _: LaterWithContext,
        reply: Reply<u32>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Failure> {
        assert!(!ctx.is_stopping());
        self.waiting.push(reply);
        Ok(())
    }

    #[handler]
    async fn release(&mut self, message: Release, _ctx: &mut Context<Self>) -> Result<(), Failure> {
        let value = message.0.map_err(Failure::msg)?;
        self.release_all(value);
        Ok(())
    }

    // An ordinary method beside the handlers.
    fn release_all(&mut self, value: u32) {
        for reply in self.waiting.drain(..) {
            reply.send(value);
        }
    }
}

#[tokio::test]
async fn each_form_of_handler_is_called() -> TestResult {
    let system = ActorSystem::new();
    let forms = system.spawn(Forms::default()).await?;

    assert_eq!(forms.ask(Double { n: 21 }).await?, 42);
    forms.tell(Note("a".to_owned())).await?;
    forms.ask(Note("b".to_owned())).await?;
    assert_eq!(forms.ask(Notes).await?, ["a", "b"]);
    assert_eq!(forms.ask(Where).await?, std::thread::current().id());
    assert_eq!(forms.ask(Urn).await?, "forms");
    assert_eq!(forms.ask(Alias(false)).await?, 7);
    assert_eq!(forms.ask(Parse("8")).await?, Ok(8));
    assert_eq!(
        forms.ask(Parse("x")).await?,
        Err("x is no number".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn a_reply_is_kept_and_answered_later() -> TestResult {
    let system = ActorSystem::new();
    let forms = system.spawn(Forms::default()).await?;

    let first = tokio::spawn(forms.ask(Later));
    let second = tokio::spawn(forms.ask(LaterWithContext));
    tokio::task::yield_now().await;
    forms.tell(Later).await?; // wants no answer
    forms.tell(Release(Ok(5))).await?;
    assert_eq!(first.await??, 5);
    assert_eq!(second.await??, 5);
    Ok(())
}

#[tokio::test]
async fn a_failure_answers_failed_and_ends_the_actor() -> TestResult {
    let system = ActorSystem::new();
    let forms = system.spawn(Forms::default()).await?;
    assert_eq!(forms.ask(Alias(true)).await, Err(AskError::Failed));
    let StopReason::Failed(failure) = forms.wait_stopped().await else {
        panic!("the actor failed");
    };
    assert_eq!(failure.to_string(), "as asked");

    // A kept reply that dies with the state of a failed actor is an answer, too.
    let forms = system.spawn(Forms::default()).await?;
    let later = tokio::spawn(forms.ask(Later));
    tokio::task::yield_now().await;
    forms.tell(Release(Err("no".to_owned()))).await?;
    assert_eq!(later.await?, Err(AskError::NoReply));
    Ok(())
}

#[tokio::test]
async fn handlers_are_ordinary_methods() -> TestResult {
    let mut forms = Forms::default();
    assert_eq!(forms.double(Double { n: 2 }).await, 4);
    forms.note(Note("n".to_owned()));
    assert_eq!(forms.notes(Notes).await, ["n"]);
    assert!(forms.alias(Alias(true)).is_err());

    let mut ctx = Context::test();
    assert_eq!(forms.urn(Urn, &mut ctx).await, ctx.urn().as_str());

    let (reply, answer) = Reply::channel();
    forms.later(Later, reply).await;
    let (reply, dropped) = Reply::channel();
    assert!(
        forms
            .later_with_context(LaterWithContext, reply, &mut ctx)
            .is_ok()
    );
    drop(forms.waiting.pop());
    assert!(forms.release(Release(Ok(3)), &mut ctx).await.is_ok());
    assert_eq!(answer.await, Ok(3));
    assert_eq!(dropped.await, Err(AskError::NoReply));
    Ok(())
}

#[tokio::test]
async fn an_actor_is_found_by_its_messages() -> TestResult {
    let system = ActorSystem::new();
    system.spawn(Forms::default()).await?;
    let double: Recipient<Double> = system.recipient("forms")?;
    assert_eq!(double.ask(Double { n: 1 }).await?, 2);
    let unknown = system.recipient::<Beat>("forms");
    assert!(matches!(unknown, Err(LookupError::Unhandled { .. })));
    Ok(())
}

// ---- generic actors

#[derive(ActorMessage)]
#[message(local, response = Option<V>)]
struct Put<K, V> {
    key: K,
    value: V,
}

#[derive(ActorMessage)]
#[message(local, response = Option<V>)]
struct Get<K, V> {
    key: K,
    value: std::marker::PhantomData<V>,
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = usize)]
struct Len;

#[derive(Actor)]
#[actor(mailbox = 8)]
struct Cache<K, V> {
    entries: HashMap<K, V>,
}

#[handlers]
impl<K: Hash + Eq + Send + 'static, V: Clone + Send + 'static> Cache<K, V> {
    #[handler]
    fn put(&mut self, message: Put<K, V>) -> Option<V> {
        self.entries.insert(message.key, message.value)
    }

    #[handler]
    async fn get(&mut self, message: Get<K, V>) -> Option<V> {
        self.entries.get(&message.key).cloned()
    }

    #[handler]
    fn len(&mut self, _: Len) -> usize {
        self.entries.len()
    }
}

#[tokio::test]
async fn an_actor_may_be_generic() -> TestResult {
    let system = ActorSystem::new();
    let cache = system
        .spawn(Cache::<&str, u32> {
            entries: HashMap::new(),
        })
        .await?;
    assert_eq!(cache.ask(Put { key: "a", value: 1 }).await?, None);
    assert_eq!(cache.ask(Put { key: "a", value: 2 }).await?, Some(1));
    let get = Get {
        key: "a",
        value: std::marker::PhantomData,
    };
    assert_eq!(cache.ask(get).await?, Some(2));
    assert_eq!(cache.ask(Len).await?, 1);
    assert_eq!(<Cache<u8, u8> as Actor>::MAILBOX, 8);
    Ok(())
}

// Parameters that no message mentions, a const one, a where clause, and `Self` in a message type.
#[derive(ActorMessage)]
#[message(local, response = usize)]
struct Ask<A: 'static>(std::marker::PhantomData<fn() -> A>);

#[derive(Actor)]
struct Silent<T: ?Sized, const N: usize>(std::marker::PhantomData<fn() -> Box<T>>);

#[handlers]
impl<T, const N: usize> Silent<T, N>
where
    T: ?Sized + 'static,
{
    #[handler]
    fn ask(&mut self, _: Ask<Self>) -> usize {
        N
    }
}

#[tokio::test]
async fn parameters_need_not_occur_in_messages() -> TestResult {
    let system = ActorSystem::new();
    let silent = system
        .spawn(Silent::<dyn Error, 3>(std::marker::PhantomData))
        .await?;
    assert_eq!(silent.ask(Ask(std::marker::PhantomData)).await?, 3);
    Ok(())
}

// ---- conditional handlers

#[derive(Actor)]
struct Conditional;

#[handlers]
impl Conditional {
    #[handler]
    #[cfg(not(any(test, unix)))]
    fn absent(&mut self, _: DoesNotExist) -> AlsoNot {
        compile_error!("this is not compiled")
    }

    #[cfg(any(test, unix))]
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[cfg(not(any(test, unix)))]
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 3
    }

    #[cfg(not(any(test, unix)))]
    async fn on_start(&mut self) -> Result<(), Failure> {
        Err(Failure::msg("this is not compiled"))
    }

    #[handler]
    #[cfg(not(any(test, unix)))]
    fn raw(&mut self, _: RequestEnvelope) {}
}

#[tokio::test]
async fn conditions_of_a_method_hold_for_its_expansion() -> TestResult {
    let system = ActorSystem::new();
    let actor = system.spawn(Conditional).await?;
    assert_eq!(actor.ask(Double { n: 2 }).await?, 4);
    Ok(())
}

// ---- hooks

type Log = Arc<Mutex<Vec<String>>>;

fn write(log: &Log, entry: impl Into<String>) {
    log.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(entry.into());
}

fn entries(log: &Log) -> Vec<String> {
    log.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone()
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Break;

#[derive(Actor)]
struct AsyncHooks(Log);

#[handlers]
impl AsyncHooks {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        ctx.actor_ref()
            .tell(Note("from on_start".to_owned()))
            .await?;
        write(&self.0, "start");
        Ok(())
    }

    async fn on_stop(&mut self, _ctx: &mut Context<Self>, reason: &StopReason) {
        tokio::task::yield_now().await;
        write(&self.0, format!("stop: {reason}"));
    }

    async fn on_failure(&mut self, ctx: &mut Context<Self>, failure: &Failure) {
        tokio::task::yield_now().await;
        write(&self.0, format!("{} failed: {failure}", ctx.urn()));
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        write(&self.0, text);
    }

    #[handler]
    fn break_it(&mut self, _: Break) -> Result<(), Failure> {
        Err(Failure::msg("broken"))
    }
}

#[derive(Actor)]
struct SyncHooks(Log);

#[handlers]
impl SyncHooks {
    fn on_start(&self) {
        write(&self.0, "start");
    }

    fn on_stop(&mut self, reason: &StopReason) {
        write(&self.0, format!("stop: {reason}"));
    }

    fn on_failure(&mut self) {
        write(&self.0, "failed");
    }

    #[handler]
    fn break_it(&mut self, _: Break) {
        panic!("on purpose");
    }
}

#[derive(Actor)]
struct NoStart;

#[handlers]
impl NoStart {
    fn on_start(&mut self) -> Result<(), Failure> {
        Err(std::io::Error::other("no disk"))?;
        Ok(())
    }
}

#[tokio::test]
async fn hooks_run_at_their_turns() -> TestResult {
    let system = ActorSystem::new();

    let log = Log::default();
    let actor = system.spawn(AsyncHooks(log.clone())).urn("a").await?;
    actor.stop();
    actor.wait_stopped().await;
    assert_eq!(
        entries(&log),
        ["start", "from on_start", "stop: stop was requested"]
    );

    let log = Log::default();
    let actor = system.spawn(AsyncHooks(log.clone())).urn("b").await?;
    assert_eq!(actor.ask(Break).await, Err(AskError::Failed));
    actor.wait_stopped().await;
    assert_eq!(
        entries(&log),
        ["start", "from on_start", "b failed: broken"]
    );

    let log = Log::default();
    let actor = system.spawn(SyncHooks(log.clone())).await?;
    actor.stop();
    actor.wait_stopped().await;
    assert_eq!(entries(&log), ["start", "stop: stop was requested"]);

    let log = Log::default();
    let actor = system.spawn(SyncHooks(log.clone())).await?;
    assert_eq!(actor.ask(Break).await, Err(AskError::Failed));
    actor.wait_stopped().await;
    assert_eq!(entries(&log), ["start", "failed"]);
    Ok(())
}

#[tokio::test]
async fn a_failing_on_start_fails_the_spawn() {
    let system = ActorSystem::new();
    let error = system.spawn(NoStart).await.map(drop).unwrap_err();
    assert!(matches!(error, SpawnError::StartFailed { .. }), "{error:?}");
}

// ---- raw handlers

#[derive(Actor, Default)]
struct Raw {
    seen: Vec<String>,
}

#[handlers]
impl Raw {
    #[handler]
    async fn note(&mut self, _: Note) {
        self.seen.push("typed".to_owned());
    }

    #[handler]
    async fn anything(
        &mut self,
        envelope: RequestEnvelope,
        _ctx: &mut Context<Self>,
    ) -> Result<(), UnexpectedMessage> {
        self.seen.push(envelope.message().to_owned());
        if envelope.matches::<Double>() {
            let message = envelope.extract::<Double>()?;
            envelope.respond(message.n * 2);
            return Ok(());
        }
        Err(envelope.unexpected())
    }
}

/// What the runner does with a request from the bus.
async fn deliver<A: Actor, M: conclib::RemoteMessage>(
    actor: &mut A,
    message: M,
) -> Result<M::Response, AskError> {
    let (envelope, answer) = RequestEnvelope::channel(&message);
    let mut inbox = Some(A::frame(Box::new(envelope)));
    let envelope = A::unframe(&mut inbox).expect("a frame");
    assert!(inbox.is_none());
    inbox = A::decode(envelope);
    if inbox.is_some() {
        drop(actor.dispatch(&mut inbox, &mut Context::test()).await);
    }
    answer.await
}

#[tokio::test]
async fn a_raw_handler_gets_what_no_other_handler_takes() {
    let mut raw = Raw::default();
    assert_eq!(deliver(&mut raw, Double { n: 4 }).await, Ok(8));
    assert_eq!(deliver(&mut raw, Note(String::new())).await, Ok(()));
    let unknown = deliver(&mut raw, Beat).await;
    assert!(
        matches!(unknown, Err(AskError::Unhandled { .. })),
        "{unknown:?}"
    );
    assert_eq!(raw.seen, ["Double", "typed", "Beat"]);

    let (envelope, answer) = RequestEnvelope::channel(&Double { n: 1 });
    raw.anything(envelope, &mut Context::test())
        .await
        .expect("it is known");
    assert_eq!(answer.await, Ok(2));
}

#[tokio::test]
async fn requests_are_decoded_by_name() {
    let mut forms = Forms::default();
    assert_eq!(deliver(&mut forms, Double { n: 4 }).await, Ok(8));
    assert_eq!(deliver(&mut forms, Notes).await, Ok(vec![]));
    let unknown = deliver(&mut forms, Beat).await;
    assert!(
        matches!(unknown, Err(AskError::Unhandled { .. })),
        "{unknown:?}"
    );

    let malformed = deliver(
        &mut forms,
        NotDouble {
            n: "four".to_owned(),
        },
    )
    .await;
    assert!(
        matches!(malformed, Err(AskError::BadRequest { .. })),
        "{malformed:?}"
    );
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Double", response = u32)]
struct NotDouble {
    n: String,
}

// A message that stays in the process cannot be reached from outside, whatever it is called.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Alias", response = u32)]
struct NotAlias(bool);

#[tokio::test]
async fn a_local_message_is_not_reached_from_outside() {
    let refused = deliver(&mut Forms::default(), NotAlias(true)).await;
    assert!(
        matches!(refused, Err(AskError::Unhandled { .. })),
        "{refused:?}"
    );
}

// ---- periodic actors

#[derive(ActorMessage, Serialize, Deserialize)]
struct Beat;

mod messages {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    pub(crate) struct Flush<T> {
        pub(crate) all: T,
    }

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(name = "heart.Wait")]
    pub(crate) struct Wait(pub(crate) u32);
}

#[derive(Actor, Default)]
#[actor(urn = "heart")]
#[periodic(tick = Beat, every = "500ms")]
#[periodic(tick = messages::Wait(3), every = "1m 30s", first = "after", missed = "burst")]
#[periodic(tick = messages::Flush::<bool> { all: true }, every = "2s", missed = "delay", jitter = "5s")]
struct Heart {
    beats: u32,
    waited: u32,
    flushed: bool,
}

#[derive(ActorMessage)]
#[message(local, response = (u32, u32, bool))]
struct Pulse;

#[handlers]
impl Heart {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.beats += 1;
    }

    #[handler]
    fn wait(&mut self, message: messages::Wait) {
        self.waited += message.0;
    }

    #[handler]
    async fn flush(&mut self, message: messages::Flush<bool>) {
        self.flushed |= message.all;
    }

    #[handler]
    fn pulse(&mut self, _: Pulse) -> (u32, u32, bool) {
        (self.beats, self.waited, self.flushed)
    }
}

#[test]
fn ticks_are_a_table() {
    let names: Vec<_> = Heart::TICKS.iter().map(|tick| tick.name).collect();
    assert_eq!(names, ["Beat", "heart.Wait", "Flush"]);
    let [beat, wait, flush] = Heart::TICKS else {
        panic!("three ticks")
    };
    assert_eq!(
        beat.schedule,
        conclib::Schedule::every(Duration::from_millis(500))
    );
    assert_eq!(wait.schedule.every, Duration::from_secs(90));
    assert_eq!(wait.schedule.first, First::After);
    assert_eq!(wait.schedule.missed, Missed::Burst);
    assert_eq!(flush.schedule.missed, Missed::Delay);
    assert_eq!(flush.schedule.jitter, Duration::from_secs(5));

    let (message, _) =
        <Heart as Handler<messages::Wait>>::unwrap((wait.message)()).expect("a Wait");
    assert_eq!(message.0, 3);
    assert_eq!(<Heart as Actor>::ticks().len(), 3);
    assert!(<Forms as Actor>::ticks().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_periodic_actor_ticks() -> TestResult {
    let system = ActorSystem::new();
    let heart = system.spawn(Heart::default()).await?;
    tokio::time::sleep(Duration::from_millis(2250)).await;
    let (beats, waited, _) = heart.ask(Pulse).await?;
    assert_eq!((beats, waited), (5, 0)); // at 0, 500, 1000, 1500, 2000 ms
    tokio::time::sleep(Duration::from_secs(89)).await;
    let (_, waited, flushed) = heart.ask(Pulse).await?;
    assert_eq!((waited, flushed), (3, true));
    Ok(())
}

#[derive(Actor)]
#[periodic(tick = Beat, every = "1s", first = "after")]
#[periodic(tick = messages::Flush::<bool> { all: true }, every = "1h", first = "after")]
struct Counter<T: Default> {
    count: T,
}

#[handlers]
impl<T: Default + std::ops::AddAssign + From<u8> + Copy + Into<u64> + Send + 'static> Counter<T> {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.count += T::from(1);
    }

    #[handler]
    fn flush(&mut self, _: messages::Flush<bool>) {
        self.count = T::default();
    }

    #[handler]
    fn len(&mut self, _: Len) -> usize {
        usize::try_from(self.count.into()).unwrap_or(usize::MAX)
    }
}

#[tokio::test(start_paused = true)]
async fn a_periodic_actor_may_be_generic() -> TestResult {
    let system = ActorSystem::new();
    let counter = system.spawn(Counter { count: 0_u64 }).await?;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(counter.ask(Len).await?, 3);
    assert_eq!(Counter::<u32>::TICKS[0].name, "Beat");
    Ok(())
}

// ---- messages that are called like conclib's types

mod chat {
    use conclib::prelude::*;

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = usize)]
    pub(crate) struct Reply(pub(crate) String);

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = usize)]
    pub(crate) struct Context(pub(crate) String);
}

#[derive(Actor)]
struct Chat;

#[handlers]
impl Chat {
    #[handler]
    fn reply(&mut self, message: chat::Reply, reply: Reply<usize>) {
        reply.send(message.0.len());
    }

    #[handler]
    fn context(&mut self, message: chat::Context) -> usize {
        message.0.len()
    }
}

#[tokio::test]
async fn a_message_may_be_called_like_a_parameter() -> TestResult {
    let system = ActorSystem::new();
    let chat = system.spawn(Chat).await?;
    assert_eq!(chat.ask(chat::Reply("yes".to_owned())).await?, 3);
    assert_eq!(chat.ask(chat::Context("no".to_owned())).await?, 2);
    Ok(())
}

// ---- size

#[derive(ActorMessage)]
#[message(local, response = u64)]
struct Big([u64; 512]);

#[derive(ActorMessage)]
#[message(local, response = u64)]
struct Bigger([u64; 512]);

#[derive(Actor)]
struct Sum;

#[handlers]
impl Sum {
    #[handler]
    async fn big(&mut self, message: Big) -> u64 {
        let sum = message.0.iter().sum();
        tokio::task::yield_now().await;
        sum
    }

    #[handler]
    fn bigger(&mut self, message: Bigger) -> u64 {
        message.0.iter().sum()
    }
}

#[tokio::test]
async fn dispatch_has_room_for_a_message_once() {
    let mut ctx = Context::test();
    let handler = size_of_val(&Sum.big(Big([1; 512])));
    let dispatch = size_of_val(&Sum.dispatch(&mut None, &mut ctx));
    assert!(
        dispatch <= handler + 128,
        "{dispatch} bytes around {handler}"
    );
}

// ---- an actor from a macro of the user's own

macro_rules! adder {
    ($actor:ident, $method:ident, $message:ident) => {
        #[derive(ActorMessage, Serialize, Deserialize)]
        #[message(response = u32)]
        struct $message(u32);

        #[derive(Actor)]
        #[periodic(tick = $message(1), every = "1h", first = "after")]
        struct $actor(u32);

        #[handlers]
        impl $actor {
            fn on_start(&mut self, ctx: &mut Context<Self>) {
                self.0 += u32::from(!ctx.is_stopping());
            }

            #[handler]
            async fn $method(&mut self, message: $message) -> u32 {
                self.0 += message.0;
                self.0
            }

            #[handler]
            fn fixed(&mut self, message: Len, reply: Reply<usize>) {
                let Len = message;
                reply.send(1);
            }
        }
    };
}

adder!(Adder, add, Add);

#[tokio::test]
async fn a_macro_may_write_an_actor() -> TestResult {
    let system = ActorSystem::new();
    let adder = system.spawn(Adder(2)).await?;
    assert_eq!(adder.ask(Add(3)).await?, 6);
    assert_eq!(adder.ask(Len).await?, 1);
    Ok(())
}
