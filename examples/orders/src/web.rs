//! The web process' routes. It has no state: each request becomes an ask.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response, Result};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use conclib::durable::{DeadLetter, DeadLetters};
use conclib::prelude::*;
use conclib::web::{Deadline, livez, problem, readyz};
use tracing::warn;

use crate::{
    CloseOrder, GetOrder, GetStatistics, Order, PlaceOrder, Refusal, RenderInvoice, Statistics,
    Status, order_urn,
};

/// The routes of the shop.
pub fn router(client: ProxyClient, config: Config) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/orders", post(place))
        .route("/orders/{id}", get(read))
        .route("/orders/{id}/pay", post(pay))
        .route("/orders/{id}/cancel", post(cancel))
        .route("/orders/{id}/invoice", get(invoice))
        .route("/statistics", get(statistics))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/{id}/replay", post(replay))
        .layer(Extension(config)) // for the dead letters, to which each request connects anew
        .with_state(client)
}

/// The key of the request becomes the id of the order, and the idempotency key of the message: sent
/// again, it finds its order.
async fn place(
    client: ProxyClient,
    deadline: Deadline,
    headers: HeaderMap,
    Json(order): Json<PlaceOrder>,
) -> Result<Response> {
    let key = header(&headers, "idempotency-key").unwrap_or_default();
    let Some(urn) = order_urn(key) else {
        let detail = "The header Idempotency-Key needs 1 to 64 letters, digits, - or _.";
        return Err(problem(StatusCode::BAD_REQUEST, detail).into());
    };
    let request = header(&headers, "x-request-id").map(|id| ("request", id));
    let ask = client.ask(&urn, order).idempotency_key(key).retry();
    let placed = ask.attributes(request).deadline(deadline).await?;
    let order = placed.map_err(|refusal| declined(&refusal))?;
    Ok((StatusCode::CREATED, Json(order)).into_response())
}

async fn read(client: ProxyClient, deadline: Deadline, path: Path<String>) -> Result<Json<Order>> {
    Ok(Json(find(&client, deadline, &path).await?))
}

async fn pay(client: ProxyClient, deadline: Deadline, path: Path<String>) -> Result<Json<Order>> {
    close(&client, deadline, &path, Status::Paid).await
}

async fn cancel(
    client: ProxyClient,
    deadline: Deadline,
    path: Path<String>,
) -> Result<Json<Order>> {
    close(&client, deadline, &path, Status::Cancelled).await
}

async fn invoice(client: ProxyClient, deadline: Deadline, path: Path<String>) -> Result<String> {
    let order = find(&client, deadline, &path).await?;
    let invoice = client.ask("invoices", RenderInvoice(order)).retry();
    Ok(invoice.deadline(deadline).await?)
}

async fn statistics(client: ProxyClient, deadline: Deadline) -> Result<Json<Statistics>> {
    let statistics = client.ask("statistics", GetStatistics).retry();
    Ok(Json(statistics.deadline(deadline).await?))
}

/// For the operator.
async fn dead_letters(Extension(config): Extension<Config>) -> Result<Json<Vec<DeadLetter>>> {
    let letters = connect(&config).await?.list().await;
    Ok(Json(letters.map_err(unavailable)?))
}

/// Delivers one again, once its cause is mended.
async fn replay(
    Extension(config): Extension<Config>,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let replayed = connect(&config).await?.replay(id).await;
    if replayed.map_err(unavailable)?.is_some() {
        return Ok(StatusCode::ACCEPTED);
    }
    Err(problem(StatusCode::NOT_FOUND, "There is no such letter.").into())
}

async fn connect(config: &Config) -> Result<DeadLetters> {
    let connected = DeadLetters::connect(config).await;
    Ok(connected.map_err(unavailable)?)
}

/// Reads an order: again and again, until its deadline, while no worker can have got the request.
async fn find(client: &ProxyClient, deadline: Deadline, id: &str) -> Result<Order> {
    let not_found = || declined(&Refusal::NotFound);
    let urn = order_urn(id).ok_or_else(not_found)?;
    let order = client.ask(urn, GetOrder).retry().deadline(deadline).await?;
    Ok(order.ok_or_else(not_found)?)
}

async fn close(
    client: &ProxyClient,
    deadline: Deadline,
    id: &str,
    status: Status,
) -> Result<Json<Order>> {
    let urn = order_urn(id).ok_or_else(|| declined(&Refusal::NotFound))?;
    let ask = client.ask(urn, CloseOrder { status }).retry();
    let closed = ask.deadline(deadline).await?;
    Ok(closed.map(Json).map_err(|refusal| declined(&refusal))?)
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn declined(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::NotFound => StatusCode::NOT_FOUND,
        Refusal::KeyUsed => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Quantity | Refusal::Closed(_) => StatusCode::CONFLICT,
    };
    problem(status, &refusal.to_string())
}

fn unavailable(error: impl std::error::Error) -> Response {
    warn!(%error, "the dead letters cannot be reached");
    problem(StatusCode::SERVICE_UNAVAILABLE, "Try again later.")
}
