//! `ask` and `tell`: messages by hand.

use std::time::Duration;

use clap::Args;
use conclib::Config;
use serde::Serialize;
use tokio::io::AsyncReadExt;

use crate::args;
use crate::command::client;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::time::parse_duration;
use crate::value::{BytesForm, Value};

/// The largest input, in bytes: much more than a bus takes.
const MAX_INPUT: u64 = 64 << 20;

/// Ask an actor, and print its response as JSON
///
/// `conclib ask doubler Double '{"n":21}'` prints `{"n":42}`, or whatever the response is. A `Result` is
/// `{"Ok":…}` or `{"Err":…}`. See `conclib tell --help` for the forms of values.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    #[command(flatten)]
    message: Message,
    /// Repeat the request until its timeout, as long as it was certainly not executed
    #[arg(long)]
    retry: bool,
    /// Exit with 1 if the response is an `Err`
    #[arg(long)]
    fail_on_err: bool,
    /// Form of bytes in the response
    #[arg(long, value_enum, default_value_t)]
    bytes: BytesForm,
}

/// Send a message to an actor, without waiting for its response
///
/// Values are JSON with these additions: `{"$base64":"…"}` is bytes; a number without a fraction is an integer
/// of 64 bits at most, one with a fraction or an exponent a float; an enum is its variant's name, or an object
/// with that as its only key; a tuple is an array; a message without fields needs no value.
#[derive(Debug, Args)]
pub(crate) struct Tell {
    #[command(flatten)]
    message: Message,
}

#[derive(Debug, Args)]
struct Message {
    /// URN of the actor
    urn: String,
    /// Name of the message on the wire: that of its type, unless the type says another one
    #[arg(value_name = "MESSAGE")]
    name: String,
    /// The message: JSON, @FILE, or - for standard input
    #[arg(
        value_name = "JSON|@FILE|-",
        default_value = "null",
        hide_default_value = true
    )]
    value: String,
    /// Store the message until it is handled, at least once
    #[arg(long)]
    durable: bool,
    /// Idempotency key: messages with the same one are handled once (durable)
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Attribute of the request; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = args::pair)]
    attributes: Vec<(String, String)>,
    /// Wait for a durable message to be stored, at most
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    store_timeout: Option<Duration>,
}

impl Message {
    fn is_durable(&self) -> bool {
        self.durable || self.key.is_some()
    }

    /// The value of the message.
    async fn value(&self) -> Result<Value, Failure> {
        let text = match self.value.strip_prefix('@') {
            Some(path) => {
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| unreadable(path, &error.to_string()))?;
                read(path, file).await?
            }
            None if self.value == "-" => read("standard input", tokio::io::stdin()).await?,
            None => self.value.clone(),
        };
        Value::from_json(&text).map_err(|problem| {
            Failure::usage(format!("the message is no proper JSON: {problem}"))
                .advise("quote it for the shell: '{\"n\":21}'")
        })
    }
}

/// Sets the options that asks and tells have in common.
macro_rules! with_options {
    ($request:expr, $message:expr) => {{
        let mut request = $request.attributes($message.attributes.clone());
        if $message.durable {
            request = request.durable();
        }
        if let Some(key) = &$message.key {
            request = request.idempotency_key(key);
        }
        if let Some(timeout) = $message.store_timeout {
            request = request.store_timeout(timeout);
        }
        request
    }};
}

impl Ask {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let Self { message, .. } = &self;
        let value = message.value().await?;
        let client = client(config).await?;
        let asked = client.ask_named::<Value>(&message.urn, &message.name, &value);
        let mut asked = with_options!(asked, message);
        if self.retry {
            asked = asked.retry();
        }
        let response = asked.await?;
        output.line(&response.to_json(self.bytes))?;
        if self.fail_on_err && response.is_err() {
            return Err(Failure::silent(Exit::AnswerIsErr, "answer_is_err"));
        }
        Ok(())
    }
}

/// The outcome of a tell, as JSON.
#[derive(Serialize)]
struct Told {
    accepted: bool,
    /// The message is kept until it is handled.
    stored: bool,
}

impl Tell {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let Self { message } = &self;
        let value = message.value().await?;
        let client = client(config).await?;
        let told = client.tell_named(&message.urn, &message.name, &value);
        with_options!(told, message).await?;
        if output.json {
            let stored = message.is_durable();
            return output.json(&Told {
                accepted: true,
                stored,
            });
        }
        Ok(())
    }
}

async fn read(name: &str, input: impl tokio::io::AsyncRead + Unpin) -> Result<String, Failure> {
    let mut text = String::new();
    let read = input.take(MAX_INPUT).read_to_string(&mut text).await;
    read.map_err(|error| unreadable(name, &error.to_string()))?;
    Ok(text)
}

fn unreadable(name: &str, problem: &str) -> Failure {
    Failure::usage(format!("cannot read {name}: {problem}"))
}
