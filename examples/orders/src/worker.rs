//! The actors of the worker: an actor per order, the database, renderers of invoices, and statistics.

use std::path::Path;
use std::time::Duration;

use conclib::pool::{Pool, Route};
use conclib::prelude::*;
use conclib::topic::Topic;

use invoice::Renderer;
use order::{OrderActor, Shop};
use statistics::StatisticsActor;
use store::{Load, Store};

pub mod invoice;
pub mod order;
pub mod statistics;
pub mod store;

/// Makes the actors of the worker; orders have `payment_time` to be paid. Called at each turn of this
/// process, when no other one serves.
///
/// # Errors
///
/// The database cannot be opened, or belongs to a newer process.
pub async fn start(
    system: ActorSystem,
    client: ProxyClient,
    database: &Path,
    payment_time: Duration,
) -> Result<(), Failure> {
    let store = system.spawn(Store::open(database)?).essential().await?;
    let changes = Topic::new();
    let statistics = StatisticsActor::new(changes.clone());
    system.spawn(statistics).essential().await?;
    let renderers = Pool::new(2, || async { Renderer }).route(Route::LeastLoaded);
    system.spawn(renderers).urn("invoices").essential().await?;
    let shop = Shop {
        store: store.recipient(),
        changes,
        client,
        payment_time,
    };
    let orders = system.on_demand("order/*", move |urn| {
        let (store, shop) = (store.clone(), shop.clone());
        async move {
            let id = order::id(&urn).to_owned();
            let order = store.ask(Load { id }).await??;
            Ok::<_, Failure>(OrderActor::new(order, shop))
        }
    });
    orders.idle(Duration::from_secs(60)).max(10_000).await?;
    Ok(())
}
