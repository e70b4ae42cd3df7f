use conclib::prelude::*;

#[derive(ActorMessage)]
#[message(local)]
struct Put<T>(T);

#[derive(Actor)]
struct Nothing<T>(T);

#[handlers]
impl<T> Nothing<T> {
    #[handler]
    fn put(&mut self, _: Put<T>) {}
}

#[derive(Actor)]
struct Half<K, V>(K, V);

#[handlers]
impl<K: Send + 'static, V: Send> Half<K, V> {
    #[handler]
    fn put(&mut self, _: Put<V>) {}
}

fn main() {}
