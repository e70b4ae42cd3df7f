use conclib::prelude::*;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Put<T>(T);

#[derive(Actor)]
struct ExampleActor<T>(T);

#[handlers]
impl<T> ExampleActor<T>
where
    T: Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    #[handler]
    fn put(&mut self, _: Put<T>) {}

    #[handler]
    fn put_many(&mut self, _: Put<Vec<T>>) {}
}

#[tokio::main]
async fn main() {
    let system = ActorSystem::new();
    drop(system.spawn(ExampleActor(1)).await);
}
