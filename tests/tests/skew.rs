//! Clients and actors of two versions: which changes of a message both survive. The rows of the tables in
//! `docs/changing-a-message.md` are tests, over the bus in memory and with the real codec.

use conclib::error::AskErrorKind;
use conclib::message::{MessageSchema, RemoteMessage};
use conclib::prelude::*;
use conclib_tests::eventually;
use conclib_tests::logs::{capture, logged};

const PAGE: &str = include_str!("../../docs/changing-a-message.md");

/// Handles a message of its version.
#[derive(Actor)]
#[actor(urn = "taker")]
struct Taker<M: ActorMessage> {
    answer: fn() -> M::Response,
}

#[handlers]
impl<M: ActorMessage> Taker<M> {
    #[handler]
    fn take(&mut self, _: M) -> M::Response {
        (self.answer)()
    }
}

/// The kind of the error with which messages end that an actor of another version handles; `None` for an answer.
async fn outcomes<Sent: RemoteMessage, Handled: RemoteMessage>(
    messages: Vec<Sent>,
    answers: &[fn() -> Handled::Response],
) -> Vec<Option<AskErrorKind>> {
    let mut outcomes = Vec::new();
    let config = Config::memory();
    let client = ProxyClient::connect(&config).await.unwrap();
    let count = messages.len().max(answers.len());
    let answers = answers.iter().cycle();
    for (message, answer) in messages.into_iter().zip(answers).take(count) {
        let system = ActorSystem::new();
        let taker = Taker::<Handled> { answer: *answer };
        system.spawn(taker).await.unwrap();
        start_proxy(&system, &config).await.unwrap();
        let asked = client.ask("taker", message).await;
        outcomes.push(asked.err().map(|error| error.kind()));
        system.shutdown().await;
    }
    outcomes
}

/// The tables of the page: changes of a message, and of its response.
fn tables() -> [&'static str; 2] {
    PAGE.split_once("| change of the response |")
        .unwrap()
        .into()
}

/// The rows of a table, as cells.
fn rows(table: &'static str) -> impl Iterator<Item = [&'static str; 3]> {
    let lines = table.lines().filter_map(|line| line.strip_prefix("| "));
    let rows = lines.map(|line| line.trim_end_matches(" |").split(" | ").collect::<Vec<_>>());
    let rows = rows.map(|cells| cells.try_into().unwrap());
    rows.filter(|[change, ..]: &[_; 3]| *change != "change")
}

/// The cells of a table's row for a change.
#[track_caller]
fn cells(table: &'static str, change: &str) -> [&'static str; 2] {
    let found = rows(table).find(|[first, ..]| *first == change);
    let [_, cells @ ..] = found.unwrap_or_else(|| panic!("the page has no row `{change}`"));
    cells
}

/// Compares outcomes with a cell: `yes`, an error, or `yes` with an exception.
#[track_caller]
fn assert_cell(outcomes: &[Option<AskErrorKind>], cell: &str) {
    let kind = match cell {
        "`BadRequest`" => Some(AskErrorKind::BadRequest),
        "`BadResponse`" => Some(AskErrorKind::BadResponse),
        "`Unhandled`" => Some(AskErrorKind::Unhandled),
        "yes" => None,
        _ => {
            assert!(cell.starts_with("yes, "), "{cell}");
            let is_mixed = outcomes.contains(&None) && outcomes.iter().any(Option::is_some);
            return assert!(is_mixed, "{cell}: {outcomes:?}");
        }
    };
    let is_expected = outcomes.iter().all(|outcome| *outcome == kind);
    assert!(is_expected && !outcomes.is_empty(), "{cell}: {outcomes:?}");
}

/// Tests of changes: two versions of a type `Message`, and values that each side sends. `with` has further types.
macro_rules! requests {
    ($($test:ident $change:literal {
        old $old:item sends [$($old_value:expr),+] $(with { $($old_type:item)* })?;
        new $new:item sends [$($new_value:expr),+] $(with { $($new_type:item)* })?;
    })*) => {
        $(
            mod $test {
                mod old {
                    #[allow(unused_imports, reason = "not all need them")]
                    use crate::*;
                    $($($old_type)*)?
                    #[derive(ActorMessage, Serialize, Deserialize)]
                    $old
                    pub(super) fn messages() -> Vec<Message> { vec![$($old_value),+] }
                }

                mod new {
                    #[allow(unused_imports, reason = "not all need them")]
                    use crate::*;
                    $($($new_type)*)?
                    #[derive(ActorMessage, Serialize, Deserialize)]
                    $new
                    pub(super) fn messages() -> Vec<Message> { vec![$($new_value),+] }
                }

                #[tokio::test]
                async fn is_as_the_page_says() {
                    let [old_to_new, new_to_old] = crate::cells(crate::tables()[0], $change);
                    let outcomes = crate::outcomes::<_, new::Message>(old::messages(), &[Default::default]);
                    crate::assert_cell(&outcomes.await, old_to_new);
                    let outcomes = crate::outcomes::<_, old::Message>(new::messages(), &[Default::default]);
                    crate::assert_cell(&outcomes.await, new_to_old);
                }
            }
        )*

        const REQUESTS: &[&str] = &[$($change),*];
    };
}

/// Tests of changes of the response: two versions of a type, and values that an actor of each answers with.
macro_rules! responses {
    ($($test:ident $change:literal {
        old [$($old_type:item)*] $old:ty: [$($old_value:expr),+];
        new [$($new_type:item)*] $new:ty: [$($new_value:expr),+];
    })*) => {
        $(
            mod $test {
                mod old {
                    #[allow(unused_imports, reason = "not all need them")]
                    use crate::*;
                    $($old_type)*
                    #[derive(ActorMessage, Serialize, Deserialize)]
                    #[message(response = $old)]
                    pub(super) struct Message;
                    pub(super) const ANSWERS: &[fn() -> $old] = &[$(|| $old_value),+];
                }

                mod new {
                    #[allow(unused_imports, reason = "not all need them")]
                    use crate::*;
                    $($new_type)*
                    #[derive(ActorMessage, Serialize, Deserialize)]
                    #[message(response = $new)]
                    pub(super) struct Message;
                    pub(super) const ANSWERS: &[fn() -> $new] = &[$(|| $new_value),+];
                }

                #[tokio::test]
                async fn is_as_the_page_says() {
                    let [old_client, new_client] = crate::cells(crate::tables()[1], $change);
                    let asks = new::ANSWERS.iter().map(|_| old::Message).collect();
                    let outcomes = crate::outcomes::<_, new::Message>(asks, new::ANSWERS);
                    crate::assert_cell(&outcomes.await, old_client);
                    let asks = old::ANSWERS.iter().map(|_| new::Message).collect();
                    let outcomes = crate::outcomes::<_, old::Message>(asks, old::ANSWERS);
                    crate::assert_cell(&outcomes.await, new_client);
                }
            }
        )*

        const RESPONSES: &[&str] = &[$($change),*];
    };
}

requests! {
    field_with_a_default "add a field with `#[serde(default)]`" {
        old pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new pub(super) struct Message { a: u32, #[serde(default)] b: String } sends [Message { a: 1, b: "b".to_owned() }];
    }
    optional_field "add an `Option` field" {
        old pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new pub(super) struct Message { a: u32, b: Option<u32> } sends [Message { a: 1, b: None }, Message { a: 1, b: Some(2) }];
    }
    required_field "add any other field" {
        old pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new pub(super) struct Message { a: u32, b: u32 } sends [Message { a: 1, b: 2 }];
    }
    removed_field "remove a field" {
        old pub(super) struct Message { a: u32, b: u32 } sends [Message { a: 1, b: 2 }];
        new pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
    }
    removed_field_with_a_default "remove a field that has `#[serde(default)]`" {
        old pub(super) struct Message { a: u32, #[serde(default)] b: u32 } sends [Message { a: 1, b: 2 }];
        new pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
    }
    renamed_field "rename a field" {
        old pub(super) struct Message { old: u32 } sends [Message { old: 1 }];
        new pub(super) struct Message { new: u32 } sends [Message { new: 1 }];
    }
    aliased_field "rename a field, with `#[serde(alias = \"old\")]`" {
        old pub(super) struct Message { old: u32 } sends [Message { old: 1 }];
        new pub(super) struct Message { #[serde(alias = "old")] new: u32 } sends [Message { new: 1 }];
    }
    field_renamed_in_the_program "rename a field, with `#[serde(rename = \"old\")]`" {
        old pub(super) struct Message { old: u32 } sends [Message { old: 1 }];
        new pub(super) struct Message { #[serde(rename = "old")] new: u32 } sends [Message { new: 1 }];
    }
    another_order "change the order of the fields" {
        old pub(super) struct Message { a: u32, b: String } sends [Message { a: 1, b: String::new() }];
        new pub(super) struct Message { b: String, a: u32 } sends [Message { b: String::new(), a: 1 }];
    }
    wider_integer "widen an integer, `u32` to `u64`" {
        old pub(super) struct Message { a: u32 } sends [Message { a: u32::MAX }];
        new pub(super) struct Message { a: u64 } sends [Message { a: 1 }, Message { a: 1 << 40 }];
    }
    integer_to_text "an integer to a `String`" {
        old pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new pub(super) struct Message { a: String } sends [Message { a: "1".to_owned() }];
    }
    value_to_option "`T` to `Option<T>`" {
        old pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new pub(super) struct Message { a: Option<u32> } sends [Message { a: Some(1) }, Message { a: None }];
    }
    value_to_list "`T` to `Vec<T>`" {
        old pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new pub(super) struct Message { a: Vec<u32> } sends [Message { a: vec![1] }];
    }
    renamed_type_of_a_field "another name of a type in a field" {
        old pub(super) struct Message { part: Part } sends [Message { part: Part { n: 1 } }]
            with { #[derive(Serialize, Deserialize)] struct Part { n: u32 } };
        new pub(super) struct Message { part: Piece } sends [Message { part: Piece { n: 1 } }]
            with { #[derive(Serialize, Deserialize)] struct Piece { n: u32 } };
    }
    newtype "a newtype around a field's type" {
        old pub(super) struct Message { cents: u64 } sends [Message { cents: 1 }];
        new pub(super) struct Message { cents: Cents } sends [Message { cents: Cents(1) }]
            with { #[derive(Serialize, Deserialize)] struct Cents(u64); };
    }
    added_variant "add a variant to an enum" {
        old pub(super) enum Message { Start, Put { n: u32 } } sends [Message::Start, Message::Put { n: 1 }];
        new pub(super) enum Message { Start, Put { n: u32 }, Stop } sends [Message::Start, Message::Put { n: 1 }, Message::Stop];
    }
    renamed_variant "rename a variant" {
        old pub(super) enum Message { Start } sends [Message::Start];
        new pub(super) enum Message { Begin } sends [Message::Begin];
    }
    named_fields "a tuple struct to one with names, in the same order" {
        old pub(super) struct Message(u32, u32); sends [Message(1, 2)];
        new pub(super) struct Message { a: u32, b: u32 } sends [Message { a: 1, b: 2 }];
    }
    unknown_fields_denied "add a field with a default, where the old side has `#[serde(deny_unknown_fields)]`" {
        old #[serde(deny_unknown_fields)] pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new #[serde(deny_unknown_fields)] pub(super) struct Message { a: u32, #[serde(default)] b: u32 } sends [Message { a: 1, b: 2 }];
    }
    renamed_message "rename the message" {
        old #[message(name = "Old")] pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
        new pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
    }
    message_renamed_in_the_program "rename the message, with `#[message(name = \"Old\")]`" {
        old pub(super) struct Old { a: u32 } sends [Old { a: 1 }] with { pub(super) type Message = Old; };
        new #[message(name = "Old")] pub(super) struct Message { a: u32 } sends [Message { a: 1 }];
    }
}

responses! {
    response_field_with_a_default "add a field with `#[serde(default)]`" {
        old [#[derive(Serialize, Deserialize)] pub(super) struct Receipt { a: u32 }] Receipt: [Receipt { a: 1 }];
        new [#[derive(Serialize, Deserialize)] pub(super) struct Receipt { a: u32, #[serde(default)] b: u32 }]
            Receipt: [Receipt { a: 1, b: 2 }];
    }
    required_response_field "add any other field" {
        old [#[derive(Serialize, Deserialize)] pub(super) struct Receipt { a: u32 }] Receipt: [Receipt { a: 1 }];
        new [#[derive(Serialize, Deserialize)] pub(super) struct Receipt { a: u32, b: u32 }] Receipt: [Receipt { a: 1, b: 2 }];
    }
    removed_response_field "remove a field" {
        old [#[derive(Serialize, Deserialize)] pub(super) struct Receipt { a: u32, b: u32 }] Receipt: [Receipt { a: 1, b: 2 }];
        new [#[derive(Serialize, Deserialize)] pub(super) struct Receipt { a: u32 }] Receipt: [Receipt { a: 1 }];
    }
    wider_response "widen an integer, `u32` to `u64`" {
        old [] u32: [u32::MAX];
        new [] u64: [1, 1 << 40];
    }
    response_from_nothing "from nothing to a struct" {
        old [] (): [()];
        new [#[derive(Serialize, Deserialize)] pub(super) struct Receipt { a: u32 }] Receipt: [Receipt { a: 1 }];
    }
    response_to_result "`T` to `Result<T, E>`" {
        old [] u32: [1];
        new [] Result<u32, String>: [Ok(1), Err(String::new())];
    }
    added_response_variant "add a variant to an enum" {
        old [#[derive(Serialize, Deserialize)] pub(super) enum Verdict { Yes, No }] Verdict: [Verdict::Yes, Verdict::No];
        new [#[derive(Serialize, Deserialize)] pub(super) enum Verdict { Yes, No, Later }]
            Verdict: [Verdict::Yes, Verdict::No, Verdict::Later];
    }
}

#[test]
fn each_row_of_the_page_is_a_test() {
    let rows: Vec<_> = tables()
        .into_iter()
        .flat_map(rows)
        .map(|[change, ..]| change)
        .collect();
    let tests: Vec<_> = REQUESTS.iter().chain(RESPONSES).copied().collect();
    assert_eq!(rows, tests);
}

mod theirs {
    use super::{ActorMessage, Deserialize, Serialize};

    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u64)]
    pub(super) struct Double {
        pub(super) number: u32,
    }
}

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double {
    n: u32,
    #[serde(default)]
    twice: bool,
}

#[derive(ActorMessage)]
#[message(local)]
struct Local;

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Keep<{T}>", response = Vec<T>)]
struct Keep<T> {
    value: T,
}

#[derive(Actor)]
#[actor(urn = "doubler")]
struct Doubler;

#[handlers]
impl Doubler {
    #[handler]
    fn double(&mut self, Double { n, twice }: Double) -> u32 {
        n * if twice { 4 } else { 2 }
    }

    #[handler]
    fn keep(&mut self, Keep { value }: Keep<u8>) -> Vec<u8> {
        vec![value]
    }

    #[handler]
    fn local(&mut self, _: Local) {}
}

#[derive(Actor)]
struct Other;

#[handlers]
impl Other {
    #[handler]
    fn double(&mut self, message: theirs::Double) -> u64 {
        message.number.into()
    }
}

#[tokio::test]
async fn schemas_of_a_system_are_listed_by_message() {
    let system = ActorSystem::new();
    system.spawn(Doubler).await.unwrap();
    system.spawn(Other).await.unwrap();
    let pool = conclib::pool::Pool::new(1, async || Doubler);
    system.spawn(pool).await.unwrap();
    let schemas = system.schemas();
    let lines: Vec<_> = schemas
        .iter()
        .map(|handled| {
            (
                &*handled.message,
                handled.schema.as_deref().unwrap(),
                handled.actor_types.len(),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("Double", "Double { n: u32, twice?: bool } -> u32", 2),
            ("Double", "Double { number: u32 } -> u64", 1),
            ("Keep<u8>", "Keep<{T}> { value: T } -> Vec<T>", 2),
        ]
    );
    assert!(schemas[0].actor_types[0].contains("Pool<"));
    assert_eq!(
        schemas[0].fingerprint(),
        Double::SCHEMA.map(MessageSchema::fingerprint)
    );
    assert_ne!(schemas[0].fingerprint(), schemas[1].fingerprint());
    assert_eq!(Local::SCHEMA, None);
    let json = serde_json::to_string(&schemas).unwrap();
    let read: Vec<conclib::system::HandledMessage> = serde_json::from_str(&json).unwrap();
    assert_eq!(read, schemas);
}

/// The logs of both sides show what each expects: of an ask and of a tell, whose sender hears nothing.
#[tokio::test]
async fn message_that_does_not_decode_is_logged_with_the_lines_of_both_sides() {
    let (system, config) = (ActorSystem::new(), Config::memory());
    system.spawn(Doubler).await.unwrap();
    let proxy = start_proxy(&system, &config).await.unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    capture();
    for _ in 0..10 {
        client
            .tell("doubler", theirs::Double { number: 1 })
            .await
            .unwrap();
    }
    let asked = client.ask("doubler", theirs::Double { number: 1 }).await;
    assert!(
        matches!(asked, Err(AskError::BadRequest { .. })),
        "{asked:?}"
    );
    eventually("all are refused", async || {
        let lost = proxy.stats().lost_tells;
        lost.iter().map(|lost| lost.count).sum::<u64>() == 10
    })
    .await;
    let log = logged();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = &warnings[..] else {
        panic!("{log}");
    };
    assert!(warning.contains("message_name=Double"), "{warning}");
    assert!(
        warning.contains("Double { n: u32, twice?: bool } -> u32"),
        "{warning}"
    );
    let of_client = log.lines().find(|line| line.contains("a request failed"));
    assert!(
        of_client.unwrap().contains("Double { number: u32 } -> u64"),
        "{log}"
    );
}
