//! Traces that are decided on before their spans are made.

use std::sync::{Arc, Mutex};

use conclib::prelude::*;
use conclib_opentelemetry::{EarlySampler, TraceContext};
use opentelemetry::Context as TraceContextOf;
use opentelemetry::KeyValue;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{FutureExt, TraceFlags, TraceState};
use opentelemetry_sdk::trace::Sampler;
use tracing::span::{Attributes, Id};
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::layer::{Context as LayerContext, Layer};

use crate::actors::{AskAcross, AskDesk, Desk, Forward, Look, Note, ReadBaggage};
use crate::contexts::with_remote_parent;
use crate::fixture::{Fixture, Spans, TestResult};

/// The filter of the documentation.
const FILTER: &str =
    "info,conclib::handle=debug,conclib::handle::tell=off,conclib::handle::unsampled=off";

const MESSAGES: usize = 200;

/// The targets of all spans that are made, for logs as well.
#[derive(Debug, Clone, Default)]
struct Targets(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Targets {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: LayerContext<'_, S>) {
        let target = attributes.metadata().target().to_owned();
        self.0.lock().unwrap().push(target);
    }
}

/// A span of its own within a handler.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = ())]
struct Work;

#[derive(Actor, Debug)]
#[actor(urn = "worker")]
struct Worker {
    desk: ActorRef<Desk>,
    client: ProxyClient,
}

#[handlers]
impl Worker {
    #[handler]
    async fn work(&mut self, _: Work) -> Result<(), Failure> {
        info_span!("work").in_scope(|| ());
        self.desk.ask(Look).await?;
        self.client.tell("desk", Note).await?;
        Ok(self.client.ask("desk", Look).await.map(drop)?)
    }
}

async fn early(share: f64, filter: &str) -> (Spans, Fixture) {
    let sampler = EarlySampler::new(share);
    let spans = Spans::sampled(filter, sampler.clone());
    let program = Fixture::with(TraceContext::new().with_sampler(sampler)).await;
    (spans, program)
}

#[tokio::test]
async fn trace_is_kept_or_left_out_as_a_whole() -> TestResult {
    let (spans, program) = early(0.5, FILTER).await;
    let worker = Worker {
        desk: program.desk.clone(),
        client: program.client.clone(),
    };
    program.system.spawn(worker).await?;
    for _ in 0..MESSAGES {
        program.client.ask("worker", Work).await?;
        program.client.ask("front", Forward).await?;
    }
    program.system.shutdown().await;
    let count = |name: &str| spans.names().iter().filter(|known| *known == name).count();
    let kept = count("ask Work");
    assert!(0 < kept && kept < MESSAGES, "{kept}");
    for (name, each) in [
        ("handle Work", 1),
        ("work", 1),
        ("handle Look", 2),
        ("ask Look", 1),
        ("tell Note", 1),
        ("handle Note", 1),
    ] {
        assert_eq!(count(name), each * kept, "{name}");
    }
    assert_eq!(count("handle Forward"), 2 * count("ask Forward"));
    assert_eq!(spans.warnings.all(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn messages_that_are_left_out_have_spans_for_logs_alone() -> TestResult {
    let targets = Targets::default();
    let sampler = EarlySampler::new(0.0);
    let spans = Spans::with_layer(FILTER, sampler.clone(), targets.clone());
    let program = Fixture::with(TraceContext::new().with_sampler(sampler)).await;
    program.client.ask("front", AskAcross).await?;
    program.client.ask("front", AskDesk).await?;
    program.client.tell("desk", Note).await?;
    program.client.tell("desk", Note).durable().await?;
    program.desk.ask(Look).await?;
    program.system.shutdown().await;
    let mut targets = targets.0.lock().unwrap().clone();
    targets.retain(|target| target.starts_with("conclib::") && target != "conclib::proxy");
    let of_local_ask = targets
        .iter()
        .position(|target| target == "conclib::handle");
    // The asker of the last one is no handler: its span is made, and then left out.
    assert_eq!(targets.remove(of_local_ask.unwrap()), "conclib::handle");
    assert_eq!(targets, ["conclib::handle::unsampled"; 6]);
    assert_eq!(spans.names(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn other_processes_learn_what_was_decided() -> TestResult {
    // They would keep any trace that begins there.
    let always = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let spans = Spans::sampled("info", always);
    let program = Fixture::start().await;
    let few = TraceContext::new().with_sampler(EarlySampler::new(0.0));
    let client = ProxyClient::connect(&program.config.clone().propagator(few)).await?;
    client.ask("desk", Look).await?;
    client.tell("desk", Note).await?;
    client.tell("desk", Note).durable().await?;
    program
        .client
        .ask("desk", ReadBaggage(String::new()))
        .await?;
    program.system.shutdown().await;
    assert_eq!(spans.names().len(), 2, "{:?}", spans.names());
    Ok(())
}

#[tokio::test]
async fn messages_without_a_context_are_decided_on_by_their_receiver() -> TestResult {
    /// As of a client without traces.
    struct NoTraces;

    impl conclib::trace::Propagate for NoTraces {
        fn fields(&self) -> &[&'static str] {
            &[]
        }

        fn inject(&self, _: &tracing::Span, _: &mut conclib::envelope::Attributes) {}

        fn extract(
            &self,
            _: &conclib::envelope::Attributes,
            _: &tracing::Span,
            _: conclib::trace::Relation,
        ) {
        }
    }

    let (spans, program) = early(0.5, FILTER).await;
    let client = program.config.clone().propagator(NoTraces);
    let client = ProxyClient::connect(&client).await?;
    for text in ["", "no context"] {
        for _ in 0..MESSAGES {
            let ask = client.ask("front", AskAcross);
            match text {
                "" => ask.await?,
                text => ask.attribute("traceparent", text).await?,
            };
        }
    }
    program.system.shutdown().await;
    let count = |name: &str| spans.names().iter().filter(|known| *known == name).count();
    let kept = count("handle AskAcross");
    assert!(0 < kept && kept < 2 * MESSAGES, "{kept}");
    assert_eq!([count("ask Look"), count("handle Look")], [kept; 2]);
    Ok(())
}

#[tokio::test]
async fn parent_decides_before_the_share() -> TestResult {
    for (share, flags, expected) in [
        (1.0, TraceFlags::default(), 0),
        (0.0, TraceFlags::SAMPLED, 3),
    ] {
        let (spans, program) = early(share, FILTER).await;
        let request = with_remote_parent(TraceState::default(), flags);
        let ask = program.client.ask("desk", Look).into_future();
        ask.instrument(request).await?;
        program.system.shutdown().await;
        assert_eq!(spans.names().len(), expected, "{:?}", spans.names());
    }
    Ok(())
}

#[tokio::test]
async fn context_that_the_sender_sets_decides() -> TestResult {
    let parent = |flags| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    for (share, flags, expected) in [(1.0, "00", 0), (0.0, "01", 1)] {
        let (spans, program) = early(share, FILTER).await;
        let ask = program.client.ask("desk", Look);
        ask.attribute("traceparent", parent(flags)).await?;
        program.system.shutdown().await;
        let names = spans.names();
        let handled = names.iter().filter(|name| *name == "handle Look");
        assert_eq!(handled.count(), expected, "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn messages_with_baggage_have_spans() -> TestResult {
    let sampler = EarlySampler::new(0.0);
    let _spans = Spans::sampled(FILTER, sampler.clone());
    let propagator = TraceContext::new().with_baggage().with_sampler(sampler);
    let program = Fixture::with(propagator).await;
    let context = TraceContextOf::current_with_baggage([KeyValue::new("tenant", "7")]);
    let ask = program.client.ask("desk", ReadBaggage("tenant".to_owned()));
    let tenant = ask.into_future().with_context(context).await?;
    assert_eq!(tenant.as_deref(), Some("7"));
    Ok(())
}

#[tokio::test]
async fn other_sampler_of_the_provider_is_reported_once() -> TestResult {
    let spans = Spans::sampled(FILTER, Sampler::AlwaysOff);
    let program = Fixture::with(TraceContext::new().with_sampler(EarlySampler::new(1.0))).await;
    for _ in 0..3 {
        program.client.ask("desk", Look).await?;
    }
    let [warning] = &spans.warnings.all()[..] else {
        panic!("{:?}", spans.warnings.all());
    };
    assert!(
        warning.contains("give the same sampler to the provider"),
        "{warning}"
    );
    Ok(())
}

#[tokio::test]
async fn alone_it_samples_by_parent_and_share() -> TestResult {
    for (share, expected) in [(0.0, 0), (1.0, 2)] {
        let spans = Spans::sampled(FILTER, EarlySampler::new(share));
        let program = Fixture::start().await;
        program.client.ask("desk", Look).await?;
        program.system.shutdown().await;
        assert_eq!(spans.names().len(), expected, "{:?}", spans.names());
    }
    Ok(())
}
