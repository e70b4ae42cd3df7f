//! The signals that ask a process to end.

#[cfg(unix)]
pub(super) use unix::Signals;
#[cfg(not(unix))]
pub(super) use windows::Signals;

/// Waits until the process is asked to end: by `SIGTERM` or `SIGINT` (Ctrl-C); where there are no Unix
/// signals, by Ctrl-C. From the first call on, these signals no longer end the process by themselves.
///
/// For a web server, beside its [`ProxyClient`](crate::ProxyClient):
///
/// ```ignore
/// axum::serve(listener, app).with_graceful_shutdown(shutdown_signal()).await?;
/// ```
///
/// # Panics
///
/// On a runtime without I/O ([`enable_io`](tokio::runtime::Builder::enable_io)).
///
/// # Cancel safety
///
/// A signal that comes between two calls is lost.
pub async fn shutdown_signal() {
    Signals::listen().next().await;
}

#[cfg(unix)]
mod unix {
    use std::future::pending;

    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tracing::warn;

    /// The signals that ask the process to end, from the moment at which they are listened for.
    pub(in crate::service) struct Signals {
        terminate: Option<Signal>,
        interrupt: Option<Signal>,
    }

    impl Signals {
        pub(in crate::service) fn listen() -> Self {
            Self {
                terminate: listen_for(SignalKind::terminate()),
                interrupt: listen_for(SignalKind::interrupt()),
            }
        }

        /// Waits for the next signal; returns its name.
        pub(in crate::service) async fn next(&mut self) -> &'static str {
            tokio::select! {
                () = next(&mut self.terminate) => "SIGTERM",
                () = next(&mut self.interrupt) => "SIGINT",
            }
        }
    }

    /// Listens for a signal. One that cannot be listened for still ends the process.
    fn listen_for(kind: SignalKind) -> Option<Signal> {
        signal(kind)
            .inspect_err(|error| {
                warn!(?kind, %error, "cannot listen for a signal: it ends the process without a shutdown");
            })
            .ok()
    }

    async fn next(signal: &mut Option<Signal>) {
        let received = match signal {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if received.is_none() {
            pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
mod windows {
    use std::future::pending;

    use tracing::warn;

    /// Ctrl-C.
    pub(in crate::service) struct Signals;

    impl Signals {
        pub(in crate::service) fn listen() -> Self {
            Self
        }

        /// Waits for the next Ctrl-C; returns its name.
        pub(in crate::service) async fn next(&mut self) -> &'static str {
            if let Err(error) = tokio::signal::ctrl_c().await {
                warn!(%error, "cannot listen for Ctrl-C: it ends the process without a shutdown");
                pending::<()>().await;
            }
            "Ctrl-C"
        }
    }
}
