//! One order: an actor that the first message to its URN starts, and that ends when it is idle.

use std::time::Duration;

use conclib::Urn;
use conclib::prelude::*;
use conclib::topic::Topic;
use tracing::info;

use crate::worker::statistics::OrderChanged;
use crate::worker::store::Save;
use crate::{CloseOrder, GetOrder, MAX_QUANTITY, Order, PlaceOrder, Refusal, Status};

/// The surroundings of all orders.
#[derive(Debug, Clone)]
pub struct Shop {
    /// The database.
    pub store: Recipient<Save>,
    /// Every saved change is published here.
    pub changes: Topic<OrderChanged>,
    /// Sends messages that the bus keeps, such as the expiry of an order.
    pub client: ProxyClient,
    /// The time in which an order is to be paid.
    pub payment_time: Duration,
}

/// An order, or an id at which none was placed yet.
#[derive(Debug, Actor)]
#[actor(mailbox = 64)]
pub struct OrderActor {
    /// As in the database; `None` until it is placed.
    order: Option<Order>,
    shop: Shop,
}

impl OrderActor {
    /// The order as it was loaded.
    pub fn new(order: Option<Order>, shop: Shop) -> Self {
        Self { order, shop }
    }

    /// Writes a change to the database, and only then to the state.
    async fn save(&mut self, order: Order) -> Result<Order, Failure> {
        let save = Save(order.clone());
        self.shop.store.ask(save).await??;
        let status = order.status;
        self.order = Some(order.clone());
        self.shop.changes.publish(OrderChanged { status });
        Ok(order)
    }
}

/// What the database does not take is a failure: the bus delivers the message again, to an actor that
/// has loaded the order anew. What the shop does not want is an answer.
#[handlers]
impl OrderActor {
    /// May be delivered more than once: an order that is there already is the answer.
    #[handler]
    pub async fn place(
        &mut self,
        message: PlaceOrder,
        ctx: &mut Context<Self>,
    ) -> Result<Result<Order, Refusal>, Failure> {
        if let Some(order) = &self.order {
            let is_same = placed_as(order) == message;
            return Ok(is_same.then(|| order.clone()).ok_or(Refusal::KeyUsed));
        }
        if !(1..=MAX_QUANTITY).contains(&message.quantity) {
            return Ok(Err(Refusal::Quantity));
        }
        // Before the order is saved: afterwards, the process could end in between.
        let status = Status::Expired;
        let expiry = self.shop.client.tell(ctx.urn(), CloseOrder { status });
        expiry.after(self.shop.payment_time).await?;
        let order = self.save(Order {
            id: id(ctx.urn()).to_owned(),
            item: message.item,
            quantity: message.quantity,
            cents: message.cents,
            status: Status::Open,
        });
        let order = order.await?;
        info!(
            id = order.id,
            web_request = ctx.attributes().get("request"),
            "placed"
        );
        Ok(Ok(order))
    }

    /// May be delivered more than once, too.
    #[handler]
    pub async fn close(
        &mut self,
        CloseOrder { status }: CloseOrder,
    ) -> Result<Result<Order, Refusal>, Failure> {
        let Some(order) = self.order.clone() else {
            return Ok(Err(Refusal::NotFound));
        };
        if order.status == status {
            return Ok(Ok(order));
        }
        if order.status != Status::Open {
            return Ok(Err(Refusal::Closed(order.status)));
        }
        self.save(Order { status, ..order }).await.map(Ok)
    }

    /// Reads the order.
    #[handler]
    pub fn get(&mut self, _: GetOrder) -> Option<Order> {
        self.order.clone()
    }
}

/// The id of the order at this URN.
pub fn id(urn: &Urn) -> &str {
    urn.as_str().strip_prefix("order/").unwrap_or_default()
}

/// The message with which an order was placed.
fn placed_as(order: &Order) -> PlaceOrder {
    PlaceOrder {
        item: order.item.clone(),
        quantity: order.quantity,
        cents: order.cents,
    }
}
