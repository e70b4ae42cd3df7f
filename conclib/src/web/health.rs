//! Health checks of a web server that asks actors.

use axum_core::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use tracing::debug;

use super::problem::problem;
use crate::bus::ProxyClient;

/// Liveness, as a handler: 200 while the process serves requests at all. It depends on nothing else:
/// a restart of this process mends no Redis.
///
/// See [`web`](crate::web) for a router with it.
pub async fn livez() -> Response {
    healthy()
}

/// Readiness, as a handler: 200 while the client is [connected](ProxyClient::state) to the bus, 503
/// otherwise. The client is (in) the state of the router.
///
/// It does not depend on an actor system. While the actor process is replaced, every web process would
/// be unready at the same moment, also for pages that need no actor, and clients would get a refused
/// connection from a balancer without backends, instead of a 503 that says when to try again. For a
/// process that is of no use without actors there is [`readyz_with_responder`].
///
/// The cause is logged as debug, and not sent.
pub async fn readyz(client: ProxyClient) -> Response {
    let state = client.state();
    if state.is_connected() {
        return healthy();
    }
    debug!(target: "conclib::web", %state, "not ready");
    unready("The bus is not connected.")
}

/// Readiness, as a handler: 200 while an actor system [serves](ProxyClient::responder) that the client
/// can ask, 503 otherwise. Each check reads the lease from the bus, and waits for that as long as an
/// ask does: 5 s, or [`Config::timeout`](crate::Config::timeout). In a [fleet](crate::Config::fleet) it is
/// enough that one member serves.
///
/// The cause is logged as debug, and not sent.
pub async fn readyz_with_responder(client: ProxyClient) -> Response {
    match client.responder().await {
        Ok(()) => healthy(),
        Err(error) => {
            debug!(target: "conclib::web", %error, "not ready");
            unready("No actor system can be asked.")
        }
    }
}

fn healthy() -> Response {
    let mut response = "ok".into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn unready(detail: &str) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, detail)
}
