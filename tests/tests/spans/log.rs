//! A subscriber that collects the log of all threads, and keeps account of the spans of messages.

use std::io;
use std::sync::{Mutex, Once};

use tracing::{Subscriber, span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The URNs of the spans that are open, and of those that are entered.
static SPANS: Mutex<(Vec<String>, Vec<String>)> = Mutex::new((Vec::new(), Vec::new()));

/// The URN and message of each span that was opened.
pub(crate) static URNS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

struct AllThreads;

impl io::Write for AllThreads {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps account of the spans of handled messages.
struct Accounts;

/// The URN of a span, and the name of its message.
struct OfActor(String, String);

impl tracing::field::Visit for OfActor {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "urn" {
            self.0 = format!("{value:?}");
        } else if field.name() == "message_name" {
            self.1 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Accounts {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        ctx: LayerContext<'_, S>,
    ) {
        if attributes.metadata().name() == "handle" {
            let mut urn = OfActor(String::new(), String::new());
            attributes.record(&mut urn);
            URNS.lock().unwrap().push((urn.0.clone(), urn.1.clone()));
            SPANS.lock().unwrap().0.push(urn.0.clone());
            ctx.span(id).unwrap().extensions_mut().insert(urn);
        }
    }

    fn on_enter(&self, id: &span::Id, ctx: LayerContext<'_, S>) {
        if let Some(urn) = ctx.span(id).unwrap().extensions().get::<OfActor>() {
            SPANS.lock().unwrap().1.push(urn.0.clone());
        }
    }

    fn on_exit(&self, id: &span::Id, ctx: LayerContext<'_, S>) {
        if let Some(urn) = ctx.span(id).unwrap().extensions().get::<OfActor>() {
            remove(&mut SPANS.lock().unwrap().1, &urn.0);
        }
    }

    fn on_close(&self, id: span::Id, ctx: LayerContext<'_, S>) {
        if let Some(urn) = ctx.span(&id).unwrap().extensions().get::<OfActor>() {
            remove(&mut SPANS.lock().unwrap().0, &urn.0);
        }
    }
}

fn remove(urns: &mut Vec<String>, urn: &str) {
    let place = urns.iter().position(|other| other == urn);
    urns.swap_remove(place.expect("it was there"));
}

/// Sets the subscriber of all tests, before the first event.
pub(crate) fn subscribe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = fmt::layer().with_ansi(false).with_writer(|| AllThreads);
        let subscriber = tracing_subscriber::registry()
            .with(LevelFilter::DEBUG)
            .with(Accounts)
            .with(log);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// The lines of the log that contain all of these texts.
pub(crate) fn lines(texts: &[&str]) -> Vec<String> {
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let lines = log
        .lines()
        .filter(|line| texts.iter().all(|text| line.contains(text)));
    lines.map(str::to_owned).collect()
}

/// The only line that contains all of these texts.
#[track_caller]
pub(crate) fn line(texts: &[&str]) -> String {
    let mut lines = lines(texts);
    assert_eq!(lines.len(), 1, "{texts:?}: {lines:#?}");
    lines.remove(0)
}

/// The value of a field, without quotes.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("{name}="))?;
    let end = rest.find([' ', '}']).unwrap_or(rest.len());
    Some(rest[..end].trim_matches('"'))
}

/// True if no span of this actor is entered, and none is open.
pub(crate) fn has_no_span(urn: &str) -> bool {
    let spans = SPANS.lock().unwrap();
    !spans.0.iter().chain(&spans.1).any(|other| other == urn)
}
