//! The first level: handlers alone, called as methods. No bus between processes, no database.

use std::time::Duration;

use conclib::prelude::*;
use conclib::test::{Probe, TestSystem};
use conclib::topic::Topic;
use orders::worker::order::{OrderActor, Shop};
use orders::worker::statistics::{NewHour, OrderChanged, StatisticsActor};
use orders::worker::store::{Save, StoreError};
use orders::{CloseOrder, Counts, GetOrder, GetStatistics, PlaceOrder, Refusal, Status};

const HOUR: Duration = Duration::from_secs(3600);

fn tea(quantity: u32) -> PlaceOrder {
    PlaceOrder {
        item: "tea".to_owned(),
        quantity,
        cents: 450,
    }
}

/// An order that was not placed yet, and the saves that it asks for, which are answered by `answer`.
async fn order(
    system: &TestSystem,
    answer: fn(&Save) -> Result<(), StoreError>,
) -> (OrderActor, Probe<Save>) {
    let store = Probe::answering(system, answer).await.unwrap();
    let shop = Shop {
        store: store.recipient(),
        changes: Topic::new(),
        client: ProxyClient::connect(&Config::memory()).await.unwrap(),
        payment_time: HOUR,
    };
    (OrderActor::new(None, shop), store)
}

#[tokio::test(start_paused = true)]
async fn order_is_saved_once_however_often_its_message_comes() {
    let system = TestSystem::new();
    let (mut order, store) = order(&system, |_| Ok(())).await;
    let mut ctx = Context::test();
    let placed = order.place(tea(2), &mut ctx).await.unwrap().unwrap();
    assert_eq!(store.expect().await.0, placed);
    assert_eq!(order.place(tea(2), &mut ctx).await.unwrap(), Ok(placed));
    let other = order.place(tea(3), &mut ctx).await.unwrap();
    assert_eq!(other, Err(Refusal::KeyUsed));
    store.expect_none(HOUR).await;
    system.finish().await;
}

#[tokio::test(start_paused = true)]
async fn shop_declines_without_a_failure() {
    let system = TestSystem::new();
    let (mut order, store) = order(&system, |_| Ok(())).await;
    let mut ctx = Context::test();
    for quantity in [0, 101] {
        let placed = order.place(tea(quantity), &mut ctx).await.unwrap();
        assert_eq!(placed, Err(Refusal::Quantity));
    }
    let close = |status| CloseOrder { status };
    let closed = order.close(close(Status::Paid)).await.unwrap();
    assert_eq!(closed, Err(Refusal::NotFound));
    assert_eq!(order.get(GetOrder), None);
    store.expect_none(HOUR).await;

    order.place(tea(1), &mut ctx).await.unwrap().unwrap();
    order.close(close(Status::Paid)).await.unwrap().unwrap();
    let expired = order.close(close(Status::Expired)).await.unwrap();
    assert_eq!(expired, Err(Refusal::Closed(Status::Paid)));
    system.finish().await;
}

#[tokio::test(start_paused = true)]
async fn order_that_cannot_be_saved_is_not_placed() {
    let system = TestSystem::new();
    let (mut order, _store) = order(&system, |_| Err(StoreError::Outdated)).await;
    let failure = order.place(tea(1), &mut Context::test()).await.unwrap_err();
    assert_eq!(failure.to_string(), "a newer worker has the database");
    assert_eq!(order.get(GetOrder), None);
    system.finish().await;
}

#[test]
fn statistics_begin_anew_each_hour() {
    let mut statistics = StatisticsActor::new(Topic::new());
    for status in [Status::Open, Status::Open, Status::Cancelled] {
        statistics.changed(OrderChanged { status });
    }
    statistics.new_hour(NewHour);
    let status = Status::Paid;
    statistics.changed(OrderChanged { status });
    let (none, read) = (Counts::default(), statistics.get(GetStatistics));
    assert_eq!(read.this_hour, Counts { paid: 1, ..none });
    let (placed, lost) = (2, 1);
    assert_eq!(
        read.last_hour,
        Counts {
            placed,
            lost,
            ..none
        }
    );
}
