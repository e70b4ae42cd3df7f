//! A shop that takes orders: a web process, of which any number may run, and a worker that has the
//! orders. This file contains the messages that they share; `README.md` tells the story.

use conclib::prelude::*;

pub mod web;
pub mod worker;

/// The largest number of pieces in an order.
pub const MAX_QUANTITY: u32 = 100;

/// Places the order at whose URN it arrives. Its idempotency key is the id of the order.
#[derive(Debug, Clone, PartialEq, Eq, ActorMessage, Serialize, Deserialize)]
#[message(durable, retry = "200ms..1m", response = Result<Order, Refusal>)]
pub struct PlaceOrder {
    /// The name of the article.
    pub item: String,
    /// The number of pieces, from 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// The price of a piece.
    pub cents: u64,
}

/// Closes the order at whose URN it arrives, unless it was closed otherwise before.
#[derive(Debug, Clone, ActorMessage, Serialize, Deserialize)]
#[message(durable, response = Result<Order, Refusal>)]
pub struct CloseOrder {
    /// Any but [`Status::Open`].
    pub status: Status,
}

/// Reads the order at whose URN it arrives; `None` if it was never placed.
#[derive(Debug, Clone, ActorMessage, Serialize, Deserialize)]
#[message(response = Option<Order>)]
pub struct GetOrder;

/// Renders the invoice of an order, at the URN `invoices`.
#[derive(Debug, Clone, ActorMessage, Serialize, Deserialize)]
#[message(response = String)]
pub struct RenderInvoice(pub Order);

/// Reads the statistics, at the URN `statistics`.
#[derive(Debug, Clone, ActorMessage, Serialize, Deserialize)]
#[message(response = Statistics)]
pub struct GetStatistics;

/// An order, as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The idempotency key with which it was placed.
    pub id: String,
    /// The name of the article.
    pub item: String,
    /// The number of pieces.
    pub quantity: u32,
    /// The price of a piece.
    pub cents: u64,
    /// The state of its payment.
    pub status: Status,
}

/// The state of an order's payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Neither paid nor cancelled.
    Open,
    /// Paid in time.
    Paid,
    /// Cancelled by the customer.
    Cancelled,
    /// Not paid in time.
    Expired,
}

/// The reason for which the shop declines a request: an answer, and no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The order was never placed.
    #[error("There is no such order.")]
    NotFound,
    /// The number of pieces is 0, or greater than [`MAX_QUANTITY`].
    #[error("An order has 1 to {MAX_QUANTITY} pieces.")]
    Quantity,
    /// The order was placed before, with other contents.
    #[error("The key was used before, for another order.")]
    KeyUsed,
    /// The order is not open any more.
    #[error("The order is closed: {0:?}.")]
    Closed(Status),
}

/// The numbers of orders that were placed and closed by this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// Since the last full hour.
    pub this_hour: Counts,
    /// In the hour before.
    pub last_hour: Counts,
}

/// Numbers of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Placed orders.
    pub placed: u64,
    /// Paid orders.
    pub paid: u64,
    /// Orders that were cancelled, or expired.
    pub lost: u64,
}

/// The URN of an order; `None` if the id is not 1 to 64 letters, digits, `-` or `_`.
pub fn order_urn(id: &str) -> Option<String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_id = (1..=64).contains(&id.len()) && id.bytes().all(is_allowed);
    is_id.then(|| format!("order/{id}"))
}
