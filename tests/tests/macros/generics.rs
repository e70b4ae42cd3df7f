//! Generic actors, and handlers under a condition.

use super::*;

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
async fn actor_may_be_generic() -> TestResult {
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
